"""What a request meets for which there is no route: a way to the right path, and the methods there are."""

from collections.abc import Iterable

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.routing import Match


def without_slash(request: Request) -> Response | None:
    """Return a redirection to the path without its last slash, if there is a route for that.

    The reference is relative to the host, for the header `Host` may be anybody's word.
    """
    path, query = request.url.path.rstrip("/"), request.url.query
    scope = {**request.scope, "path": request.scope["path"].rstrip("/")}
    routes = request.app.routes
    if scope["path"] == request.scope["path"] or all(route.matches(scope)[0] is Match.NONE for route in routes):
        return None
    return RedirectResponse(f"{path}?{query}" if query else path, 307)


def methods_of_path(request: Request) -> Iterable[str]:
    """Yield all methods the path answers (RFC 9110 section 15.5.6); the router alone names those of its first match."""
    for method in ("DELETE", "GET", "PATCH", "POST", "PUT"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield from ("GET", "HEAD") if method == "GET" else (method,)  # see `Edge`
