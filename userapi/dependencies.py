"""What a route may ask for."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Depends, Header, Path, Request
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2PasswordBearer

from userapi import accounts, edge, sessions
from userapi.accounts import Caller
from userapi.database import Database
from userapi.errors import ApiError, ErrorCode
from userapi.login import Login
from userapi.models import UserId
from userapi.security import ACCESS, Passwords


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _passwords(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.passwords
    return passwords


async def _login(request: Request) -> Login:
    login: Login = request.app.state.login
    return login


async def _client(request: Request) -> sessions.Client:
    return sessions.Client(request.headers.get("user-agent"), request.client.host if request.client else None)


DatabaseDep = Annotated[Database, Depends(_database)]
PasswordsDep = Annotated[Passwords, Depends(_passwords)]
LoginDep = Annotated[Login, Depends(_login)]
ClientDep = Annotated[sessions.Client, Depends(_client)]


class _CallerScheme(OAuth2PasswordBearer):
    """The document's OAuth2 scheme, which also finds out who calls: each layer of dependencies costs every request."""

    async def __call__(self, request: HTTPConnection) -> Caller:  # type: ignore[override]  # more than the token
        token = await super().__call__(request)
        if token is None:
            raise ApiError(ErrorCode.NOT_AUTHENTICATED)
        state = request.app.state
        claims = state.tokens.read(ACCESS, token)
        user = claims and await state.database.read(sessions.caller, claims.user_id, claims.session_id)
        if user is None:
            raise ApiError(ErrorCode.INVALID_TOKEN)
        request.scope[edge.USER_ID] = user.id
        return Caller(user, claims.session_id)


class _AdminScheme(_CallerScheme):
    """The same scheme, for admins only."""

    async def __call__(self, request: HTTPConnection) -> Caller:  # type: ignore[override]  # as above
        caller = await super().__call__(request)
        if not caller.user.is_admin:
            raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
        return caller


_OPTIONS: dict[str, Any] = {
    "tokenUrl": "token",
    "refreshUrl": "token",
    "auto_error": False,
    "scheme_name": "OAuth2PasswordBearer",
    "description": "Log in with username or e-mail address",
}
CallerDep = Annotated[Caller, Depends(_CallerScheme(**_OPTIONS))]
AdminDep = Annotated[Caller, Depends(_AdminScheme(**_OPTIONS))]


class Target(NamedTuple):
    """The user that a route is about, and who asks."""

    user_id: int
    caller: Caller

    @property
    def own(self) -> bool:
        """Whether they are the same."""
        return bool(self.user_id == self.caller.user.id)


async def _target(
    user_id: Annotated[UserId | Literal["me"], Path(description="A user's id, or `me` for the caller")],
    caller: CallerDep,
) -> Target:
    """The caller itself or, for an admin, anybody."""
    target = Target(caller.user.id if user_id == "me" else user_id, caller)
    if not target.own and not caller.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)  # whether or not there is such a user
    return target


async def _if_match(
    request: Request,
    _: Annotated[
        str, Header(alias="If-Match", description="`ETag` of the version to change; 412 if the user has changed since")
    ] = "*",
) -> accounts.Version:
    """The versions that a change is made for (RFC 9110 section 13.1.1); weak tags and unknown ones match none."""
    tags = request.headers.getlist("if-match")
    if not tags or tags == ["*"]:
        return None
    return {int(version) for version in re.findall(r'(?<!/)"([1-9][0-9]{0,9})"', ",".join(tags))}


TargetDep = Annotated[Target, Depends(_target)]
IfMatch = Annotated[accounts.Version, Depends(_if_match)]
