"""What a route may ask for."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Request
from fastapi.security import OAuth2PasswordBearer

from userapi import sessions
from userapi.accounts import Caller
from userapi.database import Database
from userapi.errors import InvalidToken, NotAuthenticated, NotEnoughPermissions
from userapi.models import UserId
from userapi.security import Passwords, Tokens
from userapi.settings import Settings

_bearer = OAuth2PasswordBearer(tokenUrl="token", auto_error=False, description="Log in with username or e-mail")


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _passwords(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.passwords
    return passwords


async def _tokens(request: Request) -> Tokens:
    tokens: Tokens = request.app.state.tokens
    return tokens


async def _client(request: Request) -> sessions.Client:
    return sessions.Client(request.headers.get("user-agent"), request.client.host if request.client else None)


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
PasswordsDep = Annotated[Passwords, Depends(_passwords)]
TokensDep = Annotated[Tokens, Depends(_tokens)]
ClientDep = Annotated[sessions.Client, Depends(_client)]


async def _caller(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
    if token is None:
        raise NotAuthenticated
    state = request.app.state
    claims = state.tokens.read_access(token)
    user = await state.database.read(sessions.caller, *claims)
    if user is None:
        raise InvalidToken
    return Caller(user, claims.session_id)


CallerDep = Annotated[Caller, Depends(_caller)]


async def _admin(caller: CallerDep) -> Caller:
    if not caller.user.is_admin:
        raise NotEnoughPermissions
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
        raise NotEnoughPermissions  # whether or not there is such a user
    return int(user_id)


AdminDep = Annotated[Caller, Depends(_admin)]
TargetId = Annotated[int, Depends(_target_id)]
