"""What routes and dependencies say of themselves in the OpenAPI document, which `documentation` puts together."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

from userapi.errors import ErrorCode

TEXT = {"required": True, "schema": {"type": "string"}}  # a header of an answer
LINK = {"Link": TEXT | {"description": "The pages around this one (RFC 8288)"}}

Responses = dict[int | str, dict[str, Any]]  # what the document says of a route's answers, by status
Call = TypeVar("Call", bound=Callable[..., Any])


def router(**options: Any) -> APIRouter:
    """Return a router whose operations are named, in the document, like their functions."""
    return APIRouter(generate_unique_id_function=lambda route: route.name, **options)


def raises(*codes: ErrorCode) -> Callable[[Call], Call]:
    """Declare errors of a route, or of a dependency and so of every route that asks for it.

    Those of its dependencies it need not name, nor what befalls any request: a body that is too large, for instance.
    """

    def declare(call: Call) -> Call:
        call.__dict__.setdefault(_RAISED, []).extend(codes)
        return call

    return declare


def raised(call: Any) -> list[ErrorCode]:
    """Return the errors that a route's function or a dependency declares itself."""
    found: list[ErrorCode] = getattr(call, _RAISED, [])
    return found


_RAISED = "__raises__"
