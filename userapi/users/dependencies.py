"""What routes that make or change users ask for."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request
from sqlmodel import Session

from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database
from userapi.kit.web import openapi
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import client
from userapi.models import UserCreate, UserRow
from userapi.sessions.caller import Target
from userapi.sessions.callers import require_still
from userapi.sessions.rules import Caller
from userapi.users import changes, rules
from userapi.users.preparation import Preparation
from userapi.users.rules import Version

IF_MATCH = {  # what the document says of the header
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "default": "*"},
            "description": "`ETag` of the version to change; 412 if the user has changed since",
        }
    ]
}
IF_MATCH_RAISES = (ErrorCode.BAD_REQUEST, ErrorCode.PRECONDITION_FAILED)

_TAGS = re.compile(r'[\s,]*(?:W/)?"[^"]*"(?:\s*,[\s,]*(?:W/)?"[^"]*")*[\s,]*')
_VERSION = re.compile(r'(?<=")([1-9][0-9]{0,9})(?=")')


_RAISES = openapi.raises(
    ErrorCode.PASSWORD_TOO_COMMON,
    ErrorCode.PASSWORD_CONTAINS_USERNAME,
    ErrorCode.PASSWORD_CONTAINS_EMAIL,
    ErrorCode.PASSWORD_TOO_WEAK,
    ErrorCode.OVERLOADED,
    ErrorCode.DATABASE_UNAVAILABLE,
)


class Writer(NamedTuple):
    """Makes and changes users as a request asks. One dependency, for of each that is asked for FastAPI takes 30 us."""

    database: Database
    prepare: Preparation
    client: Client

    async def create(self, new: UserCreate, admin: Caller) -> UserRow:
        """Make a user, by the word of an admin, and return it.

        For the errors see `Preparation.user`, `require_still` and `rules.create`.
        """
        hashed_password = await self.prepare.user(new, self.client)

        def create(db: Session) -> UserRow:
            require_still(db, admin)
            return rules.create(db, new, hashed_password)

        return await self.database.write(create)

    async def change(self, target: Target, fields: Mapping[str, Any], version: Version) -> UserRow:
        """Change a user and return it. For the errors see `Preparation.change` and `changes.update`."""
        change = await self.prepare.change(target.caller, target.user_id, fields, version, self.client)
        return await self.database.write(changes.update, change)


@_RAISES
async def _writer(request: Request) -> Writer:
    services = request.app.state.services
    return Writer(services.database, services.preparation, await client(request))


@_RAISES
async def _preparation(request: Request) -> Preparation:
    found: Preparation = request.app.state.services.preparation
    return found


def if_match(request: Request) -> Version:
    """Return the versions that a change is made for (RFC 9110 section 13.1.1); unknown tags match none.

    A weak tag is one of ours that a proxy has changed when it compressed the answer. This is no dependency, for FastAPI
    takes 30 us for one: a route that calls it, once its body is checked, has `openapi_extra=IF_MATCH` and raises
    `IF_MATCH_RAISES`.

    Raises:
        ApiError: The header is no list of tags.
    """
    tags = request.headers.getlist("if-match")
    if not tags or tags == ["*"]:
        return None
    given = ",".join(tags)
    if not _TAGS.fullmatch(given):
        raise ApiError(ErrorCode.BAD_REQUEST, 'If-Match must be * or a list of entity tags, such as "1"')
    return {int(version) for version in _VERSION.findall(given)}


WriterDep = Annotated[Writer, Depends(_writer)]
PreparationDep = Annotated[Preparation, Depends(_preparation)]
