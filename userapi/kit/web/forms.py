"""Routes that take a form, as OAuth's do (RFC 6749 appendix B), and what they refuse before it is parsed."""

from collections.abc import Callable, Coroutine, Set
from typing import Any
from urllib.parse import parse_qsl

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
        form = self.body_field.field_info.annotation if self.body_field else None
        names = set(getattr(form, "model_fields", ()))

        async def checked(request: Request) -> Response:
            _check(request.headers.get("content-type", ""), await request.body(), names)
            return await handle(request)

        return checked


def _check(media_type: str, body: bytes, names: Set[str]) -> None:
    """Refuse another media type, a large form, one of many fields, and one that gives one of these names two values.

    Nothing at all is an empty form. Of two values somebody before us may have read the other (RFC 6749 section 3.2).
    """
    if (media_type or body) and media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        words = f"Send a form, with Content-Type: {MEDIA_TYPE}"
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, words)
    if len(body) > MAX_BYTES or body.count(b"&") >= MAX_FIELDS:
        raise ApiError(ErrorCode.PAYLOAD_TOO_LARGE, "A form has at most 8 KiB and 32 fields")
    fields = {field for field in parse_qsl(body.decode("latin-1"), keep_blank_values=True) if field[0] in names}
    if len(fields) != len({name for name, _ in fields}):
        raise ApiError(ErrorCode.BAD_REQUEST, "A form gives each field one value")
