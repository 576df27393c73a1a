"""Who calls: the dependencies by which a route says who may use it."""

from typing import Annotated, Literal, NamedTuple, Protocol

from fastapi import Depends, Path, Request
from fastapi.security import OAuth2PasswordBearer
from pydantic import WithJsonSchema

from userapi.errors import ApiError, ErrorCode
from userapi.kit import logs
from userapi.kit.web import edge, openapi
from userapi.models import UserId
from userapi.security.tokens import ACCESS, Tokens
from userapi.sessions.callers import Callers
from userapi.sessions.first_use import FirstUses
from userapi.sessions.rules import Caller

_ID_OR_ME = WithJsonSchema({"type": "string", "pattern": "^(me|[1-9][0-9]{0,9})$", "examples": ["me"]})  # one type

_bearer = OAuth2PasswordBearer(
    tokenUrl="token",
    refreshUrl="token",
    auto_error=False,
    scheme_name="OAuth2PasswordBearer",
    description="Log in with username or e-mail address",
)


class _Services(Protocol):
    """What is needed here of a running service."""

    @property
    def callers(self) -> Callers: ...

    @property
    def tokens(self) -> Tokens: ...

    @property
    def first_uses(self) -> FirstUses: ...


@openapi.raises(
    ErrorCode.NOT_AUTHENTICATED,
    ErrorCode.INVALID_TOKEN,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.SESSION_ENDED,
    ErrorCode.DATABASE_UNAVAILABLE,
)
async def _caller(request: Request, token: Annotated[str | None, Depends(_bearer)]) -> Caller:
    if token is None:
        raise ApiError(ErrorCode.NOT_AUTHENTICATED)
    services: _Services = request.app.state.services
    claims = services.tokens.read(ACCESS, token)
    if claims is None:
        expired = services.tokens.has_expired(ACCESS, token)
        raise ApiError(ErrorCode.TOKEN_EXPIRED if expired else ErrorCode.INVALID_TOKEN)
    caller = await services.callers.find(claims)
    if caller is None:
        raise ApiError(ErrorCode.SESSION_ENDED)
    if caller.first_use:
        await services.first_uses.note(caller.session_id, caller.generation)
    request.scope[edge.USER_ID] = caller.user.id
    logs.caller.set((caller.user.id, caller.session_id))
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]


@openapi.raises(ErrorCode.NOT_ENOUGH_PERMISSIONS)
async def _admin(caller: CallerDep) -> Caller:
    if not caller.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
    return caller


AdminDep = Annotated[Caller, Depends(_admin)]


class Target(NamedTuple):
    """The user that a route is about, and who asks."""

    user_id: int
    caller: Caller

    @property
    def own(self) -> bool:
        """Whether they are the same."""
        return self.user_id == self.caller.user.id


@openapi.raises(ErrorCode.NOT_ENOUGH_PERMISSIONS)
async def _target(
    request: Request,
    user_id: Annotated[UserId | Literal["me"], Path(description="A user's id, or `me` for the caller"), _ID_OR_ME],
    caller: CallerDep,
) -> Target:
    """Return the caller itself or, for an admin, anybody."""
    target = Target(caller.user.id if user_id == "me" else user_id, caller)
    request.scope[edge.TARGET_ID] = target.user_id
    if not target.own and not caller.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)  # whether or not there is such a user
    return target


TargetDep = Annotated[Target, Depends(_target)]
