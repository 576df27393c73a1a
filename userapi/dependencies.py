"""What a route may ask for."""

import re
from typing import Annotated, Literal

from fastapi import Depends, Header, Path, Request
from fastapi.security import OAuth2PasswordBearer

from userapi import accounts, edge, sessions
from userapi.accounts import Caller
from userapi.database import Database
from userapi.errors import ApiError, ErrorCode
from userapi.login import Login
from userapi.models import UserId
from userapi.security import ACCESS, Passwords

_bearer = OAuth2PasswordBearer(
    tokenUrl="token", refreshUrl="token", auto_error=False, description="Log in with username or e-mail"
)


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


async def _caller(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
    if token is None:
        raise ApiError(ErrorCode.NOT_AUTHENTICATED)
    state = request.app.state
    claims = state.tokens.read(ACCESS, token)
    user = claims and await state.database.read(sessions.caller, claims.user_id, claims.session_id)
    if user is None:
        raise ApiError(ErrorCode.INVALID_TOKEN)
    request.scope[edge.USER_ID] = user.id
    return Caller(user, claims.session_id)


CallerDep = Annotated[Caller, Depends(_caller)]


async def _admin(caller: CallerDep) -> Caller:
    if not caller.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
    return caller


async def _target_id(
    user_id: Annotated[UserId | Literal["me"], Path(description="A user's id, or `me` for the caller")],
    caller: CallerDep,
) -> int:
    """The user a route is about: the caller itself or, for an admin, anybody."""
    own_id: int = caller.user.id
    if user_id in ("me", own_id):
        return own_id
    if not caller.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)  # whether or not there is such a user
    return int(user_id)


async def _if_match(
    if_match: Annotated[
        str, Header(description="`ETag` of the version to change; 412 if the user has changed since")
    ] = "*",
) -> accounts.Version:
    """The versions that a change is made for (RFC 9110 section 13.1.1); weak tags and unknown ones match none."""
    if if_match.strip() == "*":
        return None
    return {int(version) for version in re.findall(r'(?<!/)"([0-9]{1,10})"', if_match)}


AdminDep = Annotated[Caller, Depends(_admin)]
TargetId = Annotated[int, Depends(_target_id)]
IfMatch = Annotated[accounts.Version, Depends(_if_match)]
