"""Every error becomes an answer of one shape: FastAPI's `detail`, and a `code` beside it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import fallback

# Whose errors also speak OAuth (RFC 6749 section 5.2, RFC 7009 section 2.2.1, RFC 7662 section 2.3).
OAUTH_PATHS = {"/token", "/revoke", "/introspect"}
LIMITS: dict[str, type] = {  # what is told of a rule, never a value
    **dict.fromkeys(("ge", "gt", "le", "lt"), int | float),  # type: ignore[arg-type]  # a union serves isinstance
    **dict.fromkeys(("min_length", "max_length", "max_bytes"), int),
    **dict.fromkeys(("pattern", "expected"), str),
}

_OAUTH_ERRORS = {
    ErrorCode.INVALID_CREDENTIALS: "invalid_grant",
    ErrorCode.INVALID_GRANT: "invalid_grant",
    ErrorCode.EMAIL_NOT_VERIFIED: "invalid_grant",
    ErrorCode.INVALID_CLIENT: "invalid_client",
    ErrorCode.UNSUPPORTED_GRANT_TYPE: "unsupported_grant_type",
    ErrorCode.INTERNAL_ERROR: "server_error",
}
_NO_DESCRIPTION = re.compile(r"[^ !#-\[\]-~]")  # what `error_description` may not contain

_BAD_TOKEN = {ErrorCode.INVALID_TOKEN, ErrorCode.TOKEN_EXPIRED, ErrorCode.SESSION_ENDED}

Body = dict[str, Any]


def headers(error: ApiError) -> dict[str, str]:
    """Return what the answer to an error says beside its body (RFC 6750 section 3, RFC 9110 section 10.2.3)."""
    if error.code is ErrorCode.RECENT_LOGIN_REQUIRED:  # RFC 9470 section 3
        challenge = f'Bearer error="insufficient_user_authentication", max_age={error.max_age}'
        return {"WWW-Authenticate": challenge}
    if error.code in _BAD_TOKEN:  # the attributes only if a token came (RFC 6750 section 3.1)
        return {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{error.code.words}"'}
    if error.code is ErrorCode.INVALID_CLIENT:  # RFC 6749 section 5.2
        return {"WWW-Authenticate": 'Basic realm="userapi"'}
    if error.code.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": str(error.retry_after)} if error.code.status in {429, 503} else {}


def body(error: ApiError) -> Body:
    """Return what the answer to an error says; one of status 422 reads like a failed validation of the part it lies in.

    An error of a field names the field, and tells what else is wrong of fields under `errors`.
    """
    if error.code.status == 422:
        words = [{"loc": error.loc, "msg": str(error), "type": error.rule, "ctx": error.limits}]
        found = invalid(words) | {"code": error.code}
    else:
        found = {"detail": str(error), "code": error.code}
    if error.code.field:
        found["field"] = error.loc[-1] if error.loc else error.code.field
    if error.loc:
        all_of_them = (error, *error.others)
        found["errors"] = [{"field": each.loc[-1], "code": each.rule, "detail": str(each)} for each in all_of_them]
    return found


def invalid(items: Iterable[Mapping[str, Any]]) -> Body:
    """Return what the answer to a failed validation says: what is wrong where, and never the value that is."""
    detail = []
    for item in items:
        told: Body = {"loc": [str(part) for part in item["loc"]], "msg": item["msg"], "type": item["type"]}
        limits = {name: limit for name, limit in item.get("ctx", {}).items() if isinstance(limit, LIMITS.get(name, ()))}
        if limits:
            told["ctx"] = limits
        detail.append(told)
    errors = [{"field": _field(item), "code": item["type"], "detail": item["msg"]} for item in detail]
    return {"detail": detail, "code": ErrorCode.VALIDATION_ERROR, "errors": errors}


def _field(item: Body) -> str:
    """Return the field in which something is wrong, or the part of the request if that is not known."""
    part, *within = item["loc"]
    return str(within[0] if within and item["type"] != "json_invalid" else part)  # where JSON ends is no field


def in_oauth(body: Body, status: int) -> Body:
    """Return the body of an error with OAuth's words beside ours (RFC 6749 section 5.2)."""
    error = _OAUTH_ERRORS.get(body["code"], "temporarily_unavailable" if status in {429, 503} else "invalid_request")
    words = body["detail"]
    if not isinstance(words, str):
        words = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in words)
    return body | {"error": error, "error_description": _NO_DESCRIPTION.sub("'", words)}


def answer(error: ApiError, scope: Scope) -> Response:
    """Return the answer to an error of the request with this scope."""
    return _answer(body(error), error.code.status, scope, headers(error))


def _answer(body: Body, status: int, scope: Scope, headers: Mapping[str, str]) -> Response:
    oauth = scope["path"].removeprefix(scope.get("root_path", "")) in OAUTH_PATHS
    return JSONResponse(in_oauth(body, status) if oauth else body, status, headers)


def install(app: FastAPI) -> None:
    """Make the app answer every error in the common shape."""
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]  # Starlette types the widest error
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _framework_error)  # type: ignore[arg-type]  # as above


async def _api_error(request: Request, error: ApiError) -> Response:
    return answer(error, request.scope)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    if _is_other_media(request, error):
        words = "Send JSON, with Content-Type: application/json"
        return answer(ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, words), request.scope)
    return _answer(invalid(error.errors()), 422, request.scope, {})


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
        return answer(ApiError(ErrorCode.PAYLOAD_TOO_LARGE), request.scope)
    codes = (ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED)
    code = next((code for code in codes if code.status == error.status_code), ErrorCode.BAD_REQUEST)
    return _answer({"detail": error.detail, "code": code}, error.status_code, request.scope, headers)
