"""What any route may ask for. What a running service has is at `app.state.services`."""

from typing import Annotated

from fastapi import Depends, Request

from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database
from userapi.kit.web import addresses, openapi
from userapi.kit.web.client import Client


async def database(request: Request) -> Database:
    """Return the database."""
    found: Database = request.app.state.services.database
    return found


def path_of(request: Request) -> str:
    """Return the path of a request as the client sees it, also under a prefix that a proxy cuts off."""
    root: str = request.scope.get("root_path", "")
    return f"{root}{request.scope['path'].removeprefix(root)}"


async def client(request: Request) -> Client:
    """Return where the request comes from."""
    host = request.client.host if request.client else None
    return Client(request.headers.get("user-agent"), addresses.plain(host), request.is_disconnected)


@openapi.raises(ErrorCode.CROSS_SITE_REFUSED)
async def _not_cross_site(request: Request) -> None:
    """Refuse what a page of another site asks for by a browser, unless its origin is allowed (Fetch Metadata).

    A GET changes nothing, and is how somebody follows a link in a mail that is read on another site.
    """
    if request.headers.get("sec-fetch-site") == "cross-site" and request.method != "GET":
        origins = request.app.state.services.settings.cors_origins
        if "*" not in origins and request.headers.get("origin") not in origins:
            raise ApiError(ErrorCode.CROSS_SITE_REFUSED)


NOT_CROSS_SITE = Depends(_not_cross_site)  # for routes that need no token, which another site's page could use
DatabaseDep = Annotated[Database, Depends(database)]
ClientDep = Annotated[Client, Depends(client)]
