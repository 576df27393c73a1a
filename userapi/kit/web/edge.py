"""What happens to every request and every answer: an id, a line in the log, safe headers, a last resort."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from userapi.errors import ApiError, ErrorCode
from userapi.kit import logs
from userapi.kit.web import problems

MAX_BODY_BYTES = 64 * 1024
USER_ID = "userapi.user_id"  # where in the scope the caller's id is left for the log

log = logging.getLogger("userapi.requests")

_GIVEN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_PUBLIC = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs/")
_ONLY_OURS = b"default-src 'self' 'unsafe-inline' data: blob:"  # Redoc would fetch its logo from its makers


class BodyLimit(RequestBodyLimitMiddleware):
    """Refuses a body over 64 KiB; one whose length is declared at once, and in the common shape."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        super().__init__(app, MAX_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] == "http" and int(Headers(scope=scope).get("content-length", 0)) > MAX_BODY_BYTES:
            await problems.answer(ApiError(ErrorCode.PAYLOAD_TOO_LARGE))(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request an id, answer what nobody caught with 500, and log a line."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 0
        request_id = _request_id(scope)
        logs.begin_request(request_id, scope["client"][0][:64] if scope["client"] else None)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += _headers(scope["path"], request_id)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            log.exception("unexpected error")
            if status:
                raise
            await problems.answer(ApiError(ErrorCode.INTERNAL_ERROR))(scope, receive, sending)
        finally:
            _log(scope, status, time.perf_counter() - start)
        return None


def _request_id(scope: Scope) -> str:
    """Return the id that came in `X-Request-ID`, if it is a plain one, or a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def _headers(path: str, request_id: str) -> list[tuple[bytes, bytes]]:
    special = (b"content-security-policy", _ONLY_OURS) if path.startswith(_PUBLIC) else (b"cache-control", b"no-store")
    return [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff"), special]


def _log(scope: Scope, status: int, seconds: float) -> None:
    fields = {
        "method": scope["method"],
        "path": getattr(scope.get("route"), "path", None) or "-",
        "status": status,
        "ms": round(seconds * 1000, 2),
        "user_id": scope.get(USER_ID, "-"),
        "ip": logs.address.get() or "-",
    }
    log.info("request", extra={"fields": fields})
