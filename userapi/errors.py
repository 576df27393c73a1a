"""The errors that clients meet: one table of codes, one shape of answer."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, Self

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match


class ErrorCode(StrEnum):
    """What went wrong, for programs; the words are for people and may change."""

    status: int
    words: str

    def __new__(cls, code: str, status: int, words: str) -> Self:
        member = str.__new__(cls, code)
        member._value_, member.status, member.words = code, status, words
        return member

    VALIDATION_ERROR = "validation_error", 422, "Validation failed"
    PASSWORD_TOO_COMMON = "password_too_common", 422, "The password is one of the commonest"
    PASSWORD_CONTAINS_USERNAME = "password_contains_username", 422, "The password contains the username"
    PASSWORD_CONTAINS_EMAIL = "password_contains_email", 422, "The password contains the e-mail address"
    NOT_AUTHENTICATED = "not_authenticated", 401, "Not authenticated"
    INVALID_TOKEN = "invalid_token", 401, "Could not validate credentials"
    INVALID_CREDENTIALS = "invalid_credentials", 401, "Incorrect username or password"
    INVALID_GRANT = "invalid_grant", 400, "The refresh token is invalid or expired"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type", 400, "The grant type is neither password nor refresh_token"
    INVALID_REQUEST = "invalid_request", 400, "The parameter token is missing"
    NOT_ENOUGH_PERMISSIONS = "not_enough_permissions", 403, "Not enough permissions"
    USER_NOT_FOUND = "user_not_found", 404, "User not found"
    SESSION_NOT_FOUND = "session_not_found", 404, "Session not found"
    USERNAME_TAKEN = "username_taken", 400, "Username already registered"
    EMAIL_TAKEN = "email_taken", 400, "Email already registered"
    CURRENT_PASSWORD_REQUIRED = "current_password_required", 400, "Current password required"
    CURRENT_PASSWORD_INCORRECT = "current_password_incorrect", 400, "Current password incorrect"
    LAST_ADMIN = "last_admin", 400, "At least one active admin must remain"
    PRECONDITION_FAILED = "precondition_failed", 412, "The user has changed meanwhile"
    TOO_MANY_ATTEMPTS = "too_many_attempts", 429, "Too many failed attempts, try again later"
    OVERLOADED = "overloaded", 503, "Too many logins at once, try again"
    DATABASE_UNAVAILABLE = "database_unavailable", 503, "The database is unavailable, try again"
    NOT_READY = "not_ready", 503, "Not ready"
    BAD_REQUEST = "bad_request", 400, "Bad request"
    NOT_FOUND = "not_found", 404, "Not found"
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "Method not allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large", 413, "Content Too Large"
    INTERNAL_ERROR = "internal_error", 500, "Internal server error"


_PASSWORD_CODES = (
    ErrorCode.PASSWORD_TOO_COMMON,
    ErrorCode.PASSWORD_CONTAINS_USERNAME,
    ErrorCode.PASSWORD_CONTAINS_EMAIL,
)
_OAUTH_ERRORS = {  # RFC 6749 section 5.2, RFC 7009 section 2.2.1
    ErrorCode.INVALID_CREDENTIALS: "invalid_grant",
    ErrorCode.INVALID_GRANT: "invalid_grant",
    ErrorCode.UNSUPPORTED_GRANT_TYPE: "unsupported_grant_type",
    ErrorCode.INVALID_REQUEST: "invalid_request",
}
_RETRY_SECONDS = 5

Responses = dict[int | str, dict[str, Any]]  # what an OpenAPI document says of a route's answers, by status


class ErrorBody(BaseModel):
    """The body of every error but a failed validation."""

    detail: str = Field(description="For people")
    code: ErrorCode


class OAuthErrorBody(ErrorBody):
    """The body of a refused grant: the RFC's word beside ours (RFC 6749 section 5.2)."""

    error: str


class Violation(BaseModel):
    """One broken rule of a request; the value that broke it is never repeated."""

    loc: list[str | int]
    msg: str
    type: str


class ValidationErrorBody(BaseModel):
    """The body of a 422: FastAPI's list under `detail`, and the code."""

    detail: list[Violation]
    code: Literal[ErrorCode.VALIDATION_ERROR] | Literal[_PASSWORD_CODES]  # type: ignore[valid-type]  # a constant
    error: str | None = Field(None, description="`invalid_request`, of a grant that lacks parameters")


class ApiError(Exception):
    """An error with an answer."""

    def __init__(self, code: ErrorCode, words: str | None = None, retry_after: int = _RETRY_SECONDS) -> None:
        """`words` stand in for those of the table, `retry_after` is in seconds."""
        super().__init__(words or code.words)
        self.code = code
        self._retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says beside its body."""
        if self.code is ErrorCode.INVALID_TOKEN:  # the attribute only if a token came (RFC 6750 section 3.1)
            return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        if self.code.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(self._retry_after)} if self.code.status in {429, 503} else {}

    @property
    def body(self) -> dict[str, Any]:
        """What the client reads; a guessable password reads like a failed validation of that field."""
        detail: Any = str(self)
        if self.code.status == 422:
            detail = [{"loc": ["body", "password"], "msg": detail, "type": self.code}]
        oauth = {"error": _OAUTH_ERRORS[self.code]} if self.code in _OAUTH_ERRORS else {}
        return {"detail": detail, "code": self.code} | oauth


class DatabaseUnavailable(ApiError):
    """The database did not answer in time; the request may be repeated (RFC 9110 section 15.6.4)."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.DATABASE_UNAVAILABLE)


class MissingParameters(RequestValidationError):
    """A grant lacks parameters: a 422 as for any form, with the RFC's word beside it (RFC 6749 section 5.2)."""

    def __init__(self, *names: str) -> None:
        super().__init__([{"type": "missing", "loc": ("body", name), "msg": "Field required"} for name in names])


INVALID: Responses = {
    413: {"model": ErrorBody, "description": ErrorCode.PAYLOAD_TOO_LARGE.words},
    422: {"model": ValidationErrorBody, "description": ErrorCode.VALIDATION_ERROR.words},
}


def responses(*codes: ErrorCode) -> Responses:
    """Declare errors for a route's OpenAPI document: one entry a status, naming each error's words."""
    declared: Responses = {}
    for code in codes:
        model = OAuthErrorBody if code in _OAUTH_ERRORS else ErrorBody
        entry = declared.setdefault(code.status, {"model": model, "description": code.words})
        if code.words not in entry["description"]:
            entry["description"] += f"; {code.words}"
        for name in ApiError(code).headers:
            entry.setdefault("headers", {})[name] = {"required": True, "schema": {"type": "string"}}
    return declared


def answer(error: ApiError) -> Response:
    """The answer to an error."""
    return JSONResponse(error.body, error.code.status, error.headers)


async def _api_error(_: Request, error: ApiError) -> Response:
    return answer(error)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    oauth = {"error": "invalid_request"} if isinstance(error, MissingParameters) else {}
    return JSONResponse({"detail": detail, "code": ErrorCode.VALIDATION_ERROR} | oauth, 422)


async def _framework_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 404 and (elsewhere := _without_slash(request)):
        return elsewhere
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of_path(request)))
    codes = (ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.PAYLOAD_TOO_LARGE)
    code = next((code for code in codes if code.status == error.status_code), ErrorCode.BAD_REQUEST)
    return JSONResponse({"detail": error.detail, "code": code}, error.status_code, headers)


def _without_slash(request: Request) -> Response | None:
    """Send a client with a needless slash on, by a reference relative to the host: `Host` may be anybody's word."""
    path, query = request.url.path.rstrip("/"), request.url.query
    scope = {**request.scope, "path": request.scope["path"].rstrip("/")}
    routes = request.app.routes
    if scope["path"] == request.scope["path"] or all(route.matches(scope)[0] is Match.NONE for route in routes):
        return None
    return RedirectResponse(f"{path}?{query}" if query else path, 307)


def _methods_of_path(request: Request) -> Iterable[str]:
    """All methods the path answers (RFC 9110 section 15.5.6): the router alone names those of its first match."""
    for method in ("DELETE", "GET", "PATCH", "POST", "PUT"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield method


def install(app: FastAPI) -> None:
    """Make the app answer every error in the common shape."""
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]  # Starlette types the widest error
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _framework_error)  # type: ignore[arg-type]  # as above
