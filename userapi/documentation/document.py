"""The OpenAPI document: FastAPI's, and all that clients and their generators want to know besides."""

import copy
import re
import sys
from collections.abc import Iterator, Set
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from userapi.documentation import problems
from userapi.documentation.introduction import introduction
from userapi.documentation.problems import Json
from userapi.errors import ErrorCode
from userapi.kit.web.problems import OAUTH_PATHS
from userapi.security.strength import MIN_UNCOMPOSED

ABOUT: Json = {  # what `FastAPI` is to say of the service
    "summary": "User accounts: login, administration, self-service",
    "description": introduction(),
    "contact": {"name": "Whoever runs this service"},
    "license_info": {"name": "All rights reserved", "identifier": "LicenseRef-All-Rights-Reserved"},
    "servers": [{"url": "/", "description": "This service"}],
}
BEARER: Json = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token"}
MERGE_PATCH = "application/merge-patch+json"

_ALICE: Json = {"username": "alice", "email": "alice@example.com", "age": 42}
_PUBLIC: Json = {
    "id": 2,
    **_ALICE,
    "is_admin": False,
    "is_active": True,
    "created_at": "2026-11-23T11:24:44.262456Z",
    "updated_at": None,
}
_EXAMPLES: Json = {  # of schemas; none makes an admin
    "UserCreate": _ALICE | {"password": "Correct-Horse-7", "is_admin": False},
    "UserRegister": _ALICE | {"password": "Correct-Horse-7"},
    "UserUpdate": {"username": "alice", "age": 42},
    "UserPatch": {"age": 42},
    "UserPublic": _PUBLIC,
    "UserListed": _PUBLIC | {"version": 1},
    "PasswordGrant": {"grant_type": "password", "username": "alice", "password": "Correct-Horse-7"},
    "RefreshGrant": {"grant_type": "refresh_token", "refresh_token": "eyJhbGci..."},
}
# A letter beyond ASCII may be of any kind: no pattern without lookaheads, nor one that all languages know, tells.
_KINDS = [{"type": "string", "pattern": f"[{kind}]|[^\\x00-\\x7F]"} for kind in ("a-z", "A-Z", "0-9")]


def install(app: FastAPI, *, composition: bool) -> None:
    """Make the application describe itself by this document, made when first asked for.

    `composition` is whether a password needs three kinds of characters, in place of more of them.
    """
    made: Json = {}

    def openapi() -> Json:
        if not made:
            made.update(_document(app, composition=composition))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it


def _document(app: FastAPI, *, composition: bool) -> Json:
    document = _plain(FastAPI.openapi(app))
    schemas: Json = document["components"]["schemas"]
    for unwanted in ("HTTPValidationError", "ValidationError"):  # FastAPI's, of answers that are described below
        schemas.pop(unwanted, None)
    _tell_defaults(document)
    _split_grants(document)
    for schema in _each(schemas):
        if schema.get("format") == "password" and "minLength" in schema:
            schema.update({"allOf": _KINDS} if composition else {"minLength": MIN_UNCOMPOSED})
    for name, schema in schemas.items():
        schema["title"] = name
        if name in _EXAMPLES:  # which may know nothing of a field that was added
            added = {
                field: schema["properties"][field].get("examples", [None])[0] for field in schema.get("required", [])
            }
            schema["examples"] = [added | _EXAMPLES[name]]
    tags: Json = {}
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            path, codes = str(route.path_format), {*problems.codes_of(route.dependant), *problems.ANY_REQUEST}
            for method in route.methods or ():
                operation = document["paths"][path][method.lower()]
                _describe(operation)
                schemas |= _refuse(operation, codes, oauth=path in OAUTH_PATHS)
            for tag in route.tags:
                tags.setdefault(tag, {"name": tag, "description": sys.modules[route.endpoint.__module__].__doc__})
    document["tags"] = list(tags.values())
    document["components"]["securitySchemes"]["HTTPBearer"] = BEARER
    return document


def _each(node: Any) -> Iterator[Json]:
    """Yield all objects in a document, the outer ones first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _each(child)


def _plain(document: Json) -> Json:
    """Return a document without what only makes generators' names ugly, or types that no parameter has."""
    document = copy.deepcopy(document)
    for node in _each(document):
        if isinstance(node.get("title"), str) and "version" not in node:
            del node["title"]
        for name, value in node.items():
            if isinstance(value, float):
                node[name] = int(value)  # a bound that FastAPI made 120.0
        if node.get("in") == "query":
            members = node["schema"].pop("anyOf", [{}])
            node["schema"] |= next(member for member in members if member.get("type") != "null")
            if not node.get("description", "?"):
                del node["description"]
    return document


def _tell_defaults(document: Json) -> None:
    """Make what has a default optional in bodies, and always there in answers: generators read it either way."""
    answered: set[str] = set()
    for node in _each(document["paths"]):
        for status, answer in node.get("responses", {}).items():
            if int(status) < 400:
                answered |= set(re.findall(r"#/components/schemas/(\w+)", str(answer)))
    for name, schema in document["components"]["schemas"].items():
        for field, rule in schema.get("properties", {}).items():
            if rule.pop("default", None) is not None and name in answered and field not in schema.get("required", []):
                schema.setdefault("required", []).append(field)


def _split_grants(document: Json) -> None:
    """Describe the form of a grant as one of two, each with what it requires (RFC 6749 sections 4.3.2 and 6)."""
    schemas = document["components"]["schemas"]
    form = schemas.pop("TokenRequest")
    grants = {  # what each requires, and what it has no use for
        "PasswordGrant": ("password", ["username", "password"], ["refresh_token"]),
        "RefreshGrant": ("refresh_token", ["grant_type", "refresh_token"], ["username", "password"]),
    }
    for name, (grant, required, useless) in grants.items():
        properties = {field: rule for field, rule in form["properties"].items() if field not in useless}
        properties |= {field: properties[field] | {"minLength": 1} for field in required}
        properties["grant_type"] = {"type": "string", "enum": [grant]}
        schemas[name] = form | {"required": required, "properties": properties}
    [content] = document["paths"]["/token"]["post"]["requestBody"]["content"].values()
    content["schema"] = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in grants]}


def _describe(operation: Json) -> None:
    """Say of an operation what its function's docstring and its signature tell."""
    operation["summary"] = re.split(r"[.:;,](?=\s|$)", operation["description"], maxsplit=1)[0]
    security = operation.setdefault("security", [])
    if {"OAuth2PasswordBearer": []} in security:
        security.append({"HTTPBearer": []})
    for status, answer in operation["responses"].items():
        answer["description"] = HTTPStatus(int(status)).phrase
        answer["headers"] = answer.get("headers", {}) | problems.REQUEST_ID
    body: Json = operation.get("requestBody", {}).get("content", {})
    for content in body.values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name in _EXAMPLES:
            content["example"] = _EXAMPLES[name]
        if name == "UserPatch":
            operation["requestBody"]["content"] = {**body, MERGE_PATCH: content}


def _refuse(operation: Json, codes: Set[ErrorCode], *, oauth: bool) -> Json:
    """Add an operation's errors to its answers, and return their schemas."""
    if "requestBody" in operation:
        codes |= {ErrorCode.UNSUPPORTED_MEDIA_TYPE, ErrorCode.BAD_REQUEST}  # not UTF-8, or a field twice
    json_body = "application/json" in operation.get("requestBody", {}).get("content", {})
    if json_body or "parameters" in operation:  # whatever a form sends is a text: its route says what may be wrong
        codes |= {ErrorCode.VALIDATION_ERROR}
    kept = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    operation["responses"] = kept | problems.answers(codes, oauth=oauth)
    return problems.schemas(codes, oauth=oauth)
