"""What routes say of themselves in the OpenAPI document."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import problems

Responses = dict[int | str, dict[str, Any]]  # what the document says of a route's answers, by status

TEXT = {"required": True, "schema": {"type": "string"}}  # a header of an answer
_RULES = tuple(code for code in ErrorCode if code.status == 422 and code is not ErrorCode.VALIDATION_ERROR)


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
    code: Literal[ErrorCode.VALIDATION_ERROR] | Literal[_RULES]  # type: ignore[valid-type]  # a constant
    error: str | None = Field(None, description="`invalid_request`, of a grant that lacks parameters")


def router(**options: Any) -> APIRouter:
    """Return a router whose operations are named, in the document, like their functions."""
    return APIRouter(generate_unique_id_function=lambda route: route.name, **options)


def responses(*codes: ErrorCode) -> Responses:
    """Declare errors of a route: one entry a status, naming each error's words."""
    declared: Responses = {}
    for code in codes:
        model = OAuthErrorBody if code in problems.OAUTH_ERRORS else ErrorBody
        entry = declared.setdefault(code.status, {"model": model, "description": code.words})
        if code.words not in entry["description"]:
            entry["description"] += f"; {code.words}"
        for name in problems.headers(ApiError(code)):
            always = all(name in problems.headers(ApiError(other)) for other in codes if other.status == code.status)
            entry.setdefault("headers", {})[name] = TEXT | {"required": always}
    return declared


INVALID: Responses = responses(ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE) | {
    422: {"model": ValidationErrorBody, "description": ErrorCode.VALIDATION_ERROR.words},
}
