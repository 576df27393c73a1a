"""What happens to every request and every answer: an id, a line in the log, safe headers, a last resort."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from userapi import errors, logs
from userapi.errors import ApiError, ErrorCode

MAX_BODY_BYTES = 64 * 1024
USER_ID = "userapi.user_id"  # where in the scope the caller's id is left for the log

log = logging.getLogger("userapi.requests")

_GIVEN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_PUBLIC = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs/")
_ONLY_OURS = b"default-src 'self' 'unsafe-inline' data: blob:"  # Redoc would fetch its logo from its makers


class BodyLimit(RequestBodyLimitMiddleware):
    """Refuses a body over 64 KiB; one whose length is declared at once, and in the common shape."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, MAX_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and int(Headers(scope=scope).get("content-length", 0)) > MAX_BODY_BYTES:
            await errors.answer(ApiError(ErrorCode.PAYLOAD_TOO_LARGE))(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start = time.perf_counter()
        request_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        if not _GIVEN_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        logs.request_id.set(request_id)
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                if not scope["path"].startswith(_PUBLIC):
                    message["headers"].append((b"cache-control", b"no-store"))
                else:
                    message["headers"].append((b"content-security-policy", _ONLY_OURS))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:
            log.exception("unexpected error")
            if status:
                raise
            await errors.answer(ApiError(ErrorCode.INTERNAL_ERROR))(scope, receive, sending)
        finally:
            log.info(
                "request",
                extra={
                    "fields": {
                        "method": scope["method"],
                        "path": getattr(scope.get("route"), "path", None) or "-",
                        "status": status,
                        "ms": round((time.perf_counter() - start) * 1000, 2),
                        "user_id": scope.get(USER_ID, "-"),
                    }
                },
            )
        return None
