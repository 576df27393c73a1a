"""Every error becomes an answer of one shape: FastAPI's `detail`, and a `code` beside it."""

import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import fallback

OAUTH_ERRORS = {  # RFC 6749 section 5.2, RFC 7009 section 2.2.1
    ErrorCode.INVALID_CREDENTIALS: "invalid_grant",
    ErrorCode.INVALID_GRANT: "invalid_grant",
    ErrorCode.EMAIL_NOT_VERIFIED: "invalid_grant",
    ErrorCode.UNSUPPORTED_GRANT_TYPE: "unsupported_grant_type",
    ErrorCode.INVALID_REQUEST: "invalid_request",
    ErrorCode.PAYLOAD_TOO_LARGE: "invalid_request",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "invalid_request",
}


class MissingParameters(RequestValidationError):
    """A grant lacks parameters: a 422 as for any form, with the RFC's word beside it (RFC 6749 section 5.2)."""

    def __init__(self, *names: str) -> None:
        """Name the parameters that are missing."""
        super().__init__([{"type": "missing", "loc": ("body", name), "msg": "Field required"} for name in names])


def headers(error: ApiError) -> dict[str, str]:
    """Return what the answer to an error says beside its body (RFC 6750 section 3, RFC 9110 section 10.2.3)."""
    if error.code is ErrorCode.RECENT_LOGIN_REQUIRED:  # RFC 9470 section 3
        challenge = f'Bearer error="insufficient_user_authentication", max_age={error.max_age}'
        return {"WWW-Authenticate": challenge}
    if error.code is ErrorCode.INVALID_TOKEN:  # the attribute only if a token came (RFC 6750 section 3.1)
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    if error.code.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(error.retry_after)} if error.code.status in {429, 503} else {}


def answer(error: ApiError) -> Response:
    """Return the answer to an error; one of status 422 reads like a failed validation of the part it lies in."""
    detail: Any = str(error)
    if error.code.status == 422:
        invalid = error.code is ErrorCode.VALIDATION_ERROR  # as pydantic says it
        words, kind = (f"Value error, {error}", "value_error") if invalid else (str(error), error.code)
        detail = [{"loc": error.loc, "msg": words, "type": kind}]
    oauth = {"error": OAUTH_ERRORS[error.code]} if error.code in OAUTH_ERRORS else {}
    return JSONResponse({"detail": detail, "code": error.code} | oauth, error.code.status, headers(error))


def install(app: FastAPI) -> None:
    """Make the app answer every error in the common shape."""
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]  # Starlette types the widest error
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _framework_error)  # type: ignore[arg-type]  # as above


async def _api_error(_: Request, error: ApiError) -> Response:
    return answer(error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    if _is_other_media(request, error):
        return answer(ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json"))
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    oauth = {"error": "invalid_request"} if isinstance(error, MissingParameters) else {}
    return JSONResponse({"detail": detail, "code": ErrorCode.VALIDATION_ERROR} | oauth, 422)


def _is_other_media(request: Request, error: RequestValidationError) -> bool:
    """Return whether a body was not read because it does not call itself JSON."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    unread = any(item["loc"] == ("body",) and item["type"] != "missing" for item in error.errors())
    return unread and not re.fullmatch(r"application/([\w.-]+\+)?json", media)


async def _framework_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 404 and (elsewhere := fallback.without_slash(request)):
        return elsewhere
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(fallback.methods_of_path(request)))
    if error.status_code == 413:
        return answer(ApiError(ErrorCode.PAYLOAD_TOO_LARGE))
    codes = (ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED)
    code = next((code for code in codes if code.status == error.status_code), ErrorCode.BAD_REQUEST)
    return JSONResponse({"detail": error.detail, "code": code}, error.status_code, headers)
