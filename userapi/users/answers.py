"""A user in an answer: the one writer of its JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import Request, Response

from userapi.kit.web.openapi import TEXT
from userapi.models import PUBLIC_FIELDS, UserRow

ETAG = {"ETag": TEXT | {"description": "The user's version, for `If-Match`"}}
LOCATION = {"Location": TEXT | {"description": "The user's path"}}


def one(user: UserRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with the public fields of a user, and its version as `ETag` (RFC 9110 section 8.8.3)."""
    return Response(_json(_public(user)), status, {"ETag": f'"{user.version}"', **(headers or {})}, "application/json")


def several(users: Sequence[UserRow], headers: Mapping[str, str]) -> Response:
    """Return an answer with the public fields of users and their versions, as a JSON array."""
    listed = [dict(zip(UserRow._fields, user)) for user in users]  # noqa: B905 - in place it saves a tenth of a list
    return Response(_json(listed), 200, headers, "application/json")


def created(user: UserRow, request: Request) -> Response:
    """Return the answer to the request that made a user, with its path as `Location`."""
    return one(user, 201, {"Location": f"{path(request)}/{user.id}"})


def path(request: Request) -> str:
    """Return the path of the users as the client sees it, behind a proxy that cuts a prefix off."""
    return f"{request.scope.get('root_path', '')}/users"


def _public(user: UserRow) -> dict[str, Any]:
    """Return the public fields of a user; not validated again, for they were on their way in."""
    return dict(zip(PUBLIC_FIELDS, user, strict=False))  # a fifth of the time of reading them by name


def _json(value: Any) -> bytes:
    """Return JSON, with instants as pydantic writes them; for a page of 100 in a third of its time."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
