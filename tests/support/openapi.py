"""The service's OpenAPI document, and whether answers are as it says."""

import re
from functools import cache
from typing import Any

import httpx2 as httpx
from pydantic import SecretStr

from tests.support.insides import Settings, create_app
from tests.support.processes import SECRET_KEY


@cache
def openapi() -> dict[str, Any]:
    """The service's OpenAPI document."""
    settings = Settings(_env_file=None, database_url="sqlite://", secret_key=SecretStr(SECRET_KEY))
    return create_app(settings).openapi()


def operations() -> list[tuple[str, str]]:
    """The method and path of every documented route."""
    return [(method.upper(), path) for path, item in openapi()["paths"].items() for method in item]


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What the OpenAPI document says of the route that answers a path, if there is one."""
    for template, item in openapi()["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get(method.lower())
            return found
    return None


def assert_declared(answer: httpx.Response) -> None:
    """Check that the OpenAPI document knows this status of the route."""
    request = answer.request
    declared = operation(request.method, request.url.raw_path.decode().partition("?")[0])
    if declared is not None:
        status = str(answer.status_code)
        assert status in declared["responses"], f"{request.method} {request.url.path} answers {status}, undeclared"
