"""The service's OpenAPI document, and whether answers are as it says."""

import re
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx2 as httpx
from pydantic import SecretStr

from tests.support.insides import Settings, create_app
from tests.support.processes import SECRET_KEY


@cache
def openapi(**chosen: Any) -> dict[str, Any]:
    """The OpenAPI document of a service with these settings."""
    settings = Settings(_env_file=None, database_url="sqlite://", secret_key=SecretStr(SECRET_KEY), **chosen)
    return create_app(settings).openapi()


def operations() -> list[tuple[str, str]]:
    """The method and path of every documented route."""
    return [(method.upper(), path) for path, item in openapi()["paths"].items() for method in item]


def operation(method: str, path: str, **chosen: Any) -> dict[str, Any] | None:
    """What the OpenAPI document says of the route that answers a path, if there is one."""
    for template, item in openapi(**chosen)["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get(method.lower())
            return found
    return None


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    schemas = openapi(registration_enabled=True)["components"]["schemas"]
    found: dict[str, Any] = schemas[name] if name else schema
    return found


def members(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas that one of is meant, each as it stands in the components."""
    return [resolved(member) for member in schema.get("oneOf", [schema])]


def errors(declared: dict[str, Any], status: int | str) -> dict[str, dict[str, Any]]:
    """The schemas of the errors that an operation declares for a status, by their codes."""
    found = members(declared["responses"][str(status)]["content"]["application/json"]["schema"])
    return {code: schema for schema in found for code in schema["properties"]["code"]["enum"]}


def assert_declared(answer: httpx.Response) -> None:
    """Check that the OpenAPI document knows this status of the route and, of an error, its code and all that it has."""
    request = answer.request
    path = unquote(request.url.raw_path.decode().partition("?")[0])
    declared = operation(request.method, path, registration_enabled=True)
    if declared is None or (path == "/register" and answer.status_code == 404):  # there is no such route
        return
    asked = f"{request.method} {request.url.path}"
    assert str(answer.status_code) in declared["responses"], f"{asked} answers {answer.status_code}, undeclared"
    missing = [
        name
        for name, header in declared["responses"][str(answer.status_code)].get("headers", {}).items()
        if header.get("required") and name not in answer.headers
    ]
    assert missing == [], f"{asked} lacks {missing}"
    if answer.status_code >= 400:
        answer.read()
        body, known = answer.json(), errors(declared, answer.status_code)
        assert body["code"] in known, f"{asked} answers {body['code']}, undeclared"
        assert body.keys() == known[body["code"]]["properties"].keys(), answer.text
