"""The errors clients may meet: each class says its status, its stable code and its words, once."""

import logging
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)


class ErrorCode(StrEnum):
    """What went wrong, for programs; the words beside it are for people and may change."""

    VALIDATION_ERROR = "validation_error"
    BAD_REQUEST = "bad_request"
    NOT_AUTHENTICATED = "not_authenticated"
    INVALID_TOKEN = "invalid_token"
    INVALID_CREDENTIALS = "invalid_credentials"
    NOT_ENOUGH_PERMISSIONS = "not_enough_permissions"
    USER_NOT_FOUND = "user_not_found"
    USERNAME_TAKEN = "username_taken"
    EMAIL_TAKEN = "email_taken"
    CURRENT_PASSWORD_REQUIRED = "current_password_required"
    CURRENT_PASSWORD_INCORRECT = "current_password_incorrect"
    LAST_ADMIN = "last_admin"
    DATABASE_UNAVAILABLE = "database_unavailable"
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


class Violation(BaseModel):
    """One broken rule of a request; the value that broke it is never repeated."""

    loc: list[str | int]
    msg: str
    type: str


class ValidationErrorBody(BaseModel):
    """The body of a 422: FastAPI's list under `detail`, and the code."""

    detail: list[Violation]
    code: Literal[ErrorCode.VALIDATION_ERROR]


class ApiError(Exception):
    """An error with an answer: `{"detail", "code"}` under `status`, with `headers`."""

    status: ClassVar[int]
    code: ClassVar[ErrorCode]
    detail: str
    headers: ClassVar[dict[str, str]] = {}


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


class NotEnoughPermissions(ApiError):
    status = 403
    code = ErrorCode.NOT_ENOUGH_PERMISSIONS
    detail = "Not enough permissions"


class UserNotFound(ApiError):
    status = 404
    code = ErrorCode.USER_NOT_FOUND
    detail = "User not found"


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


class LastAdmin(ApiError):
    status = 400
    code = ErrorCode.LAST_ADMIN
    detail = "At least one active admin must remain"


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


def responses(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Declare errors for a route's OpenAPI document: one entry a status, naming each error's words."""
    declared: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = declared.setdefault(error.status, {"model": ErrorBody, "description": error.detail})
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
    return _answer(error.status, error.detail, error.code, error.headers)


async def _validation_error(_: Request, error: RequestValidationError) -> Response:
    detail = [{key: item[key] for key in ("loc", "msg", "type")} for item in error.errors()]
    return _answer(422, detail, ErrorCode.VALIDATION_ERROR)


async def _framework_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of_path(request)))
    code = _FRAMEWORK_CODES.get(error.status_code, ErrorCode.BAD_REQUEST)
    return _answer(error.status_code, error.detail, code, headers)


async def _internal_error(_: Request, __: Exception) -> Response:
    return _answer(500, "Internal server error", ErrorCode.INTERNAL_ERROR)


def _methods_of_path(request: Request) -> Iterable[str]:
    """All methods the path answers (RFC 9110 section 15.5.6): the router alone names those of its first match."""
    methods = set()
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0].value == 2 for route in request.app.routes):
            methods.add(method)
    return methods


def install(app: FastAPI) -> None:
    """Make the app answer every error in the common shape."""
    app.add_exception_handler(ApiError, _api_error)  # type: ignore[arg-type]  # Starlette types the widest error
    app.add_exception_handler(RequestValidationError, _validation_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _framework_error)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(Exception, _internal_error)
