"""What any route may ask for. What a running service has is at `app.state.services`."""

from typing import Annotated

from fastapi import Depends, Request

from userapi.kit.database import Database
from userapi.kit.web.client import Client


async def database(request: Request) -> Database:
    """Return the database."""
    found: Database = request.app.state.services.database
    return found


async def client(request: Request) -> Client:
    """Return where the request comes from."""
    return Client(request.headers.get("user-agent"), request.client.host if request.client else None)


DatabaseDep = Annotated[Database, Depends(database)]
ClientDep = Annotated[Client, Depends(client)]
