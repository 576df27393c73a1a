"""The errors clients may meet: each class says its status, its stable code and its words, once."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match


class ErrorCode(StrEnum):
    """What went wrong, for programs; the words beside it are for people and may change."""

    VALIDATION_ERROR = "validation_error"
    BAD_REQUEST = "bad_request"
    NOT_AUTHENTICATED = "not_authenticated"
    INVALID_TOKEN = "invalid_token"
    INVALID_CREDENTIALS = "invalid_credentials"
    INVALID_GRANT = "invalid_grant"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    INVALID_REQUEST = "invalid_request"
    NOT_ENOUGH_PERMISSIONS = "not_enough_permissions"
    USER_NOT_FOUND = "user_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    USERNAME_TAKEN = "username_taken"
    EMAIL_TAKEN = "email_taken"
    CURRENT_PASSWORD_REQUIRED = "current_password_required"
    CURRENT_PASSWORD_INCORRECT = "current_password_incorrect"
    PASSWORD_TOO_COMMON = "password_too_common"
    PASSWORD_CONTAINS_USERNAME = "password_contains_username"
    PASSWORD_CONTAINS_EMAIL = "password_contains_email"
    LAST_ADMIN = "last_admin"
    PRECONDITION_FAILED = "precondition_failed"
    DATABASE_UNAVAILABLE = "database_unavailable"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    INTERNAL_ERROR = "internal_error"


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
    code: Literal[
        ErrorCode.VALIDATION_ERROR,
        ErrorCode.PASSWORD_TOO_COMMON,
        ErrorCode.PASSWORD_CONTAINS_USERNAME,
        ErrorCode.PASSWORD_CONTAINS_EMAIL,
    ]


class ApiError(Exception):
    """An error with an answer: `{"detail", "code"}` under `status`, with `headers`."""

    status: ClassVar[int]
    code: ClassVar[ErrorCode]
    detail: str
    headers: ClassVar[dict[str, str]] = {}
    oauth_error: ClassVar[str | None] = None

    @property
    def body(self) -> dict[str, Any]:
        """What the client reads."""
        oauth = {"error": self.oauth_error} if self.oauth_error else {}
        return {"detail": self.detail, "code": self.code} | oauth


class NotAuthenticated(ApiError):
    """No bearer token came with the request (RFC 6750 section 3.1: no error attribute then)."""

    status = 401
    code = ErrorCode.NOT_AUTHENTICATED
    detail = "Not authenticated"
    headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class InvalidToken(ApiError):
    """The token is malformed, expired, of another purpose, or its login session has ended (RFC 6750 section 3.1)."""

    status = 401
    code = ErrorCode.INVALID_TOKEN
    detail = "Could not validate credentials"
    headers: ClassVar = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class InvalidCredentials(ApiError):
    """Unknown user, wrong password or inactive user: one answer for all three, so that none can be told apart."""

    status = 401
    code = ErrorCode.INVALID_CREDENTIALS
    detail = "Incorrect username or password"
    headers: ClassVar = {"WWW-Authenticate": "Bearer"}
    oauth_error = "invalid_grant"


class InvalidGrant(ApiError):
    """The refresh token is malformed, expired, used before, or its login session has ended (RFC 6749 section 5.2)."""

    status = 400
    code = ErrorCode.INVALID_GRANT
    detail = "The refresh token is invalid or expired"
    oauth_error = "invalid_grant"


class UnsupportedGrantType(ApiError):
    status = 400
    code = ErrorCode.UNSUPPORTED_GRANT_TYPE
    detail = "The grant type is neither password nor refresh_token"
    oauth_error = "unsupported_grant_type"


class MissingToken(ApiError):
    """A revocation names no token (RFC 7009 section 2.2.1)."""

    status = 400
    code = ErrorCode.INVALID_REQUEST
    detail = "The parameter token is missing"
    oauth_error = "invalid_request"


class NotEnoughPermissions(ApiError):
    status = 403
    code = ErrorCode.NOT_ENOUGH_PERMISSIONS
    detail = "Not enough permissions"


class UserNotFound(ApiError):
    status = 404
    code = ErrorCode.USER_NOT_FOUND
    detail = "User not found"


class SessionNotFound(ApiError):
    status = 404
    code = ErrorCode.SESSION_NOT_FOUND
    detail = "Session not found"


class UsernameTaken(ApiError):
    status = 400
    code = ErrorCode.USERNAME_TAKEN
    detail = "Username already registered"


class EmailTaken(ApiError):
    status = 400
    code = ErrorCode.EMAIL_TAKEN
    detail = "Email already registered"


class CurrentPasswordRequired(ApiError):
    status = 400
    code = ErrorCode.CURRENT_PASSWORD_REQUIRED
    detail = "Current password required"


class CurrentPasswordIncorrect(ApiError):
    status = 400
    code = ErrorCode.CURRENT_PASSWORD_INCORRECT
    detail = "Current password incorrect"


class WeakPassword(ApiError):
    """A password that fits the rule but is easily guessed; it answers as a failed validation of that field."""

    status = 422

    @property
    def body(self) -> dict[str, Any]:
        return {"detail": [{"loc": ["body", "password"], "msg": self.detail, "type": self.code}], "code": self.code}


class PasswordTooCommon(WeakPassword):
    code = ErrorCode.PASSWORD_TOO_COMMON
    detail = "The password is one of the commonest"


class PasswordContainsUsername(WeakPassword):
    code = ErrorCode.PASSWORD_CONTAINS_USERNAME
    detail = "The password contains the username"


class PasswordContainsEmail(WeakPassword):
    code = ErrorCode.PASSWORD_CONTAINS_EMAIL
    detail = "The password contains the e-mail address"


class PreconditionFailed(ApiError):
    """The user has changed since the version in `If-Match` (RFC 9110 section 13.1.1)."""

    status = 412
    code = ErrorCode.PRECONDITION_FAILED
    detail = "The user has changed meanwhile"


class LastAdmin(ApiError):
    status = 400
    code = ErrorCode.LAST_ADMIN
    detail = "At least one active admin must remain"


class TooManyAttempts(ApiError):
    """Too many wrong passwords came for this account or from this address (RFC 6585 section 4)."""

    status = 429
    code = ErrorCode.TOO_MANY_ATTEMPTS
    detail = "Too many failed attempts, try again later"
    headers: ClassVar = {"Retry-After": "30"}

    def __init__(self, seconds: int) -> None:
        self.headers = {"Retry-After": str(seconds)}  # type: ignore[misc]  # this one varies


class DatabaseUnavailable(ApiError):
    """The database did not answer in time; the request may be repeated (RFC 9110 section 15.6.4)."""

    status = 503
    code = ErrorCode.DATABASE_UNAVAILABLE
    detail = "The database is unavailable, try again"
    headers: ClassVar = {"Retry-After": "5"}


class Overloaded(ApiError):
    """More passwords wait to be hashed than can be within a few seconds."""

    status = 503
    code = ErrorCode.OVERLOADED
    detail = "Too many logins at once, try again"
    headers: ClassVar = {"Retry-After": "5"}


class NotReady(ApiError):
    """A part the service needs is missing; `detail` names it."""

    status = 503
    code = ErrorCode.NOT_READY
    detail = "Not ready"

    def __init__(self, part: str) -> None:
        self.detail = f"Not ready: {part}"


class MissingParameters(RequestValidationError):
    """A grant lacks parameters: a 422 as for any form, with the RFC's word beside it (RFC 6749 section 5.2)."""

    oauth_error = "invalid_request"

    def __init__(self, *names: str) -> None:
        super().__init__([{"type": "missing", "loc": ("body", name), "msg": "Field required"} for name in names])


INVALID: dict[int | str, dict[str, Any]] = {422: {"model": ValidationErrorBody, "description": "Validation failed"}}


def responses(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Declare errors for a route's OpenAPI document: one entry a status, naming each error's words."""
    declared: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        model = OAuthErrorBody if error.oauth_error else ErrorBody
        entry = declared.setdefault(error.status, {"model": model, "description": error.detail})
        if error.detail not in entry["description"].split("; "):
            entry["description"] += f"; {error.detail}"
        for name in error.headers:
            entry.setdefault("headers", {})[name] = {"schema": {"type": "string"}}
    return declared


_FRAMEWORK_CODES = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
}


def _answer(status: int, detail: Any, code: ErrorCode, headers: Any = None) -> Response:
    return JSONResponse({"detail": detail, "code": code}, status, headers)


async def _api_error(_: Request, error: ApiError) -> Response:
    return JSONResponse(error.body, error.status, error.headers)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    oauth = {"error": error.oauth_error} if isinstance(error, MissingParameters) else {}
    return JSONResponse({"detail": detail, "code": ErrorCode.VALIDATION_ERROR} | oauth, 422)


async def _framework_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 404 and (elsewhere := _without_slash(request)):
        return elsewhere
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of_path(request)))
    code = _FRAMEWORK_CODES.get(error.status_code, ErrorCode.BAD_REQUEST)
    return _answer(error.status_code, error.detail, code, headers)


internal_error = _answer(500, "Internal server error", ErrorCode.INTERNAL_ERROR)
too_large = _answer(413, "Content Too Large", ErrorCode.PAYLOAD_TOO_LARGE)


def _without_slash(request: Request) -> Response | None:
    """Send a client with a needless slash on, by a reference relative to the host: `Host` may be anybody's word."""
    path, query = request.url.path.rstrip("/"), request.url.query
    scope = {**request.scope, "path": request.scope["path"].rstrip("/")}
    if scope["path"] == request.scope["path"] or not any(
        route.matches(scope)[0] is not Match.NONE for route in request.app.routes
    ):
        return None
    return RedirectResponse(f"{path}?{query}" if query else path, 307)


def _methods_of_path(request: Request) -> Iterable[str]:
    """All methods the path answers (RFC 9110 section 15.5.6): the router alone names those of its first match."""
    methods = set()
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            methods.add(method)
    return methods


def install(app: FastAPI) -> None:
    """Make the app answer every error in the common shape."""
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]  # Starlette types the widest error
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _framework_error)  # type: ignore[arg-type]  # as above
