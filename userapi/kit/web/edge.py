"""What happens to every request and every answer: an id, a line in the log, safe headers, a last resort."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from userapi.errors import ApiError, ErrorCode
from userapi.kit import logs
from userapi.kit.web import addresses, problems

MAX_BODY_BYTES = 64 * 1024
USER_ID = "userapi.user_id"  # where in the scope the caller's id is left for the log
TARGET_ID = "userapi.target_id"  # and that of the user whom the request is about
POLICY = "userapi.policy"  # where in the scope a page leaves its content security policy

log = logging.getLogger("userapi.requests")

_GIVEN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_PUBLIC = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs/")
_HTTP_1, _BODY = {"1.0", "1.1"}, {b"content-length", b"transfer-encoding"}  # the headers that tell of a body
_STATUS = "userapi.status"  # where in the scope the status of a begun answer is
_NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_BY_HTTPS = (*_ALWAYS, (b"strict-transport-security", b"max-age=31536000"))


class BodyLimit(RequestBodyLimitMiddleware):
    """Refuses a body over 64 KiB; one whose length is declared at once, and in the common shape."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        super().__init__(app, MAX_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on; a request without a body (RFC 9112 section 6.3) directly, for a fifteenth of its time."""
        if scope["type"] == "http" and scope["http_version"] in _HTTP_1 and _BODY.isdisjoint(dict(scope["headers"])):
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and int(Headers(scope=scope).get("content-length", 0)) > MAX_BODY_BYTES:
            await problems.answer(ApiError(ErrorCode.PAYLOAD_TOO_LARGE), scope)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request an id, and log a line."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, method = time.perf_counter(), scope["method"]
        if method == "HEAD":  # answered as GET is; the server leaves the body out (RFC 9110 section 9.3.2)
            scope = {**scope, "method": "GET"}
        request_id = _request_id(scope)
        agent = _header(scope, b"user-agent")
        logs.begin_request(request_id, scope["client"][0][:64] if scope["client"] else None, agent or None)
        addresses.socket.set(scope.get("server"))
        addresses.warn_of_untrusted(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope[_STATUS] = message["status"]
                message["headers"] += _headers(scope, request_id)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            _log(scope, method, scope.get(_STATUS, 0), time.perf_counter() - start)
        return None


class LastResort:
    """Answers what nobody caught with 500; stands where such an answer still gets the headers of CORS."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and answer if that fails before there is an answer."""
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            pass  # in the middle of its body: nobody waits for an answer
        except Exception:
            if scope["type"] != "http":
                raise
            log.exception("unexpected error")
            if _STATUS in scope:
                raise
            await problems.answer(ApiError(ErrorCode.INTERNAL_ERROR), scope)(scope, receive, send)


def _request_id(scope: Scope) -> str:
    """Return the id that came in `X-Request-ID`, if it is a plain one, or a new one."""
    given = _header(scope, b"x-request-id")
    return given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def _header(scope: Scope, name: bytes) -> str:
    return next((value for found, value in scope["headers"] if found == name), b"").decode("latin-1")


def _headers(scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-request-id", request_id.encode()),
        (b"content-security-policy", scope.get(POLICY, _NOTHING)),
        *(_BY_HTTPS if scope["scheme"] == "https" else _ALWAYS),
    ]
    if not scope["path"].removeprefix(scope.get("root_path", "")).startswith(_PUBLIC):
        headers.append((b"cache-control", b"no-store"))
    return headers


def _log(scope: Scope, method: str, status: int, seconds: float) -> None:
    fields = {
        "method": method,
        "path": getattr(scope.get("route"), "path", None) or "-",
        "status": status,
        "ms": round(seconds * 1000, 2),
        "user_id": scope.get(USER_ID, "-"),
        "target_id": scope.get(TARGET_ID, "-"),
        "ip": logs.address.get() or "-",
    }
    log.info("request", extra={"fields": fields})
