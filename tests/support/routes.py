"""Every route with its body and its parameters, to send odd things to."""

from collections.abc import Iterator
from typing import Any

from tests.support.client import Actor, Api
from tests.support.openapi import members, operation, operations


def bodies() -> Iterator[tuple[str, str, str, list[str]]]:
    """The method, path, media type and field names of every route that takes a body."""
    for method, path in operations():
        declared = operation(method, path)
        assert declared
        for media, content in declared.get("requestBody", {}).get("content", {}).items():
            fields = {name for schema in members(content["schema"]) for name in schema["properties"]}
            yield method, path, media, sorted(fields)


BODIES = list(bodies())


def send(api: Api, method: str, path: str, target: Actor, **options: Any) -> Any:
    """Make the request as an admin, about `target`; check that the answer is a clean one."""
    path = path.replace("{user_id}", str(target.id)).replace("{session_id}", "1")
    answer = api.admin.request(method, path, **options)
    assert answer.status_code < 500, f"{method} {path}: {answer.text}"
    if answer.status_code >= 400:
        body = answer.json()
        assert isinstance(body["code"], str), answer.text
        assert isinstance(body["detail"], str | list), answer.text
    return answer


def parameters(place: str) -> Iterator[tuple[str, str, str]]:
    """The method, path and name of every parameter in this place."""
    for method, path in operations():
        declared = operation(method, path)
        assert declared
        for parameter in declared.get("parameters", []):
            if parameter["in"] == place:
                yield method, path, parameter["name"]
