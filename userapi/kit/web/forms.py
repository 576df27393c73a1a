"""Routes that take a form, as OAuth's do (RFC 6749 appendix B), and what they refuse before it is parsed."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from userapi.errors import ApiError, ErrorCode

MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_BYTES = 8 * 1024
MAX_FIELDS = 32


class FormRoute(APIRoute):
    """Takes one media type, in small amounts: a multipart body of 61 KB takes seconds to parse."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with a check before it."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            _check(request.headers.get("content-type", ""), await request.body())
            return await handle(request)

        return checked


def _check(media_type: str, body: bytes) -> None:
    """Refuse another media type, a large form and one of many fields; nothing at all is an empty form."""
    if (media_type or body) and media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        words = f"Send a form, with Content-Type: {MEDIA_TYPE}"
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, words)
    if len(body) > MAX_BYTES or body.count(b"&") >= MAX_FIELDS:
        raise ApiError(ErrorCode.PAYLOAD_TOO_LARGE, "A form has at most 8 KiB and 32 fields")
