"""The errors in the OpenAPI document: a schema for each code, and the answers of an operation, which name theirs."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi.dependencies.models import Dependant

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import openapi, problems

Json = dict[str, Any]

ANY_REQUEST = (ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.PAYLOAD_TOO_LARGE, ErrorCode.INTERNAL_ERROR)

_TEXT: Json = {"type": "string"}
_HEADERS: Json = {
    "Allow": {"description": "The methods that the path answers", "schema": _TEXT},
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750 section 3, RFC 9470)", "schema": _TEXT},
    "X-Request-ID": {"description": "The request's id, as the log has it", "schema": _TEXT},
}
REQUEST_ID: Json = {"X-Request-ID": {"required": True} | _HEADERS["X-Request-ID"]}
_NUMBERS = {name: {"type": "number"} for name in sorted(problems.LIMITS.keys() - {"pattern", "expected"})}


def _object(name: str, description: str, required: list[str], **properties: Json) -> Json:
    head = {"title": name, "description": description, "type": "object"}
    return head | ({"required": required} if required else {}) | {"properties": properties}


_SHARED: Json = {
    "Violation": _object(
        "Violation",
        "One broken rule of a request; the value that broke it is never repeated.",
        ["loc", "msg", "type"],
        loc={"type": "array", "items": _TEXT, "description": "Where, as `body`, `username`"},
        msg=_TEXT | {"description": "For people"},
        type=_TEXT | {"description": "The rule, for programs, as `string_too_short`"},
        ctx={"$ref": "#/components/schemas/Limits"},
    ),
    "Limits": _object(
        "Limits", "The limits of a broken rule, those that it has.", [], **_NUMBERS, pattern=_TEXT, expected=_TEXT
    ),
    "FieldError": _object(
        "FieldError",
        "What is wrong with a field.",
        ["field", "code", "detail"],
        field=_TEXT,
        code=_TEXT | {"description": "The error's code, or the `type` of the broken rule"},
        detail=_TEXT | {"description": "For people"},
    ),
}


def codes_of(dependant: Dependant) -> Iterator[ErrorCode]:
    """Yield the errors that a route and its dependencies declare."""
    yield from openapi.raised(dependant.call)
    for dependency in dependant.dependencies:
        yield from codes_of(dependency)


def answers(codes: Iterable[ErrorCode], *, oauth: bool) -> Json:
    """Return the answers to errors with these codes, by status."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in sorted(set(codes), key=lambda code: (code.status, list(ErrorCode).index(code))):
        by_status.setdefault(code.status, []).append(code)
    return {str(status): _answer(together, oauth) for status, together in by_status.items()}


def schemas(codes: Iterable[ErrorCode], *, oauth: bool) -> Json:
    """Return the schemas of errors with these codes, and those that they refer to, by their names."""
    return _SHARED | {_name(code, oauth): _schema(code, oauth) for code in set(codes)}


def _name(code: ErrorCode, oauth: bool) -> str:
    words = code.title().replace("_", "").removesuffix("Error")
    return f"{'Oauth' if oauth else ''}{words}Error"


def _example(code: ErrorCode, oauth: bool) -> Json:
    if code is ErrorCode.VALIDATION_ERROR:
        missing = {"type": "missing", "loc": ("body", "username"), "msg": "Field required"}
        body = problems.invalid([missing])
    else:
        body = problems.body(ApiError(code))
    return problems.in_oauth(body, code.status) if oauth else body


def _schema(code: ErrorCode, oauth: bool) -> Json:
    """Return the schema of an error: the properties of its example, all of them required."""
    example = _example(code, oauth)
    properties: Json = {
        "detail": _TEXT | {"description": "For people"},
        "error_description": _TEXT | {"description": "For people, in ASCII (RFC 6749 section 5.2)"},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/FieldError"},
            "description": "All that is wrong with fields",
        },
    }
    if code.status == 422:
        properties["detail"] = {"type": "array", "items": {"$ref": "#/components/schemas/Violation"}}
    for name in {"code", "error", "field"} & example.keys():
        properties[name] = {"type": "string", "enum": [str(example[name])]}
    if code.field == "password":
        properties["field"]["enum"] += ["new_password"]  # as what sets one by a mail calls it
    chosen = {name: properties[name] for name in example}
    return _object(_name(code, oauth), f"{code.words}.", list(example), **chosen)


def _answer(codes: list[ErrorCode], oauth: bool) -> Json:
    refs = {code: f"#/components/schemas/{_name(code, oauth)}" for code in codes}
    discriminator = {"propertyName": "code", "mapping": {str(code): ref for code, ref in refs.items()}}
    one = {"$ref": refs[codes[0]]}
    several = {"oneOf": [{"$ref": ref} for ref in refs.values()], "discriminator": discriminator}
    always = [set(problems.headers(ApiError(code))) for code in codes]
    headers = {name: {"required": all(name in each for each in always)} | _HEADERS[name] for name in set.union(*always)}
    if codes[0] is ErrorCode.METHOD_NOT_ALLOWED:
        headers["Allow"] = {"required": True} | _HEADERS["Allow"]
    content: Json = {
        "schema": one if len(codes) == 1 else several,
        "examples": {str(code): {"summary": code.words, "value": _example(code, oauth)} for code in codes},
    }
    words = "\n".join(f"- `{code}`: {code.words}" for code in codes)
    return {
        "description": codes[0].words if len(codes) == 1 else f"{HTTPStatus(codes[0].status).phrase}\n{words}",
        "headers": dict(sorted(headers.items())) | REQUEST_ID,
        "content": {"application/json": content},
    }
