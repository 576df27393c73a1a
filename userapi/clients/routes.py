"""The route by which another service asks whether a token is good."""

from typing import Annotated, Protocol
from urllib.parse import unquote_plus

from fastapi import Depends, Form, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, ConfigDict, Field

from userapi.clients import rules
from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import NOT_CROSS_SITE
from userapi.kit.web.forms import FormRoute
from userapi.security.tokens import ACCESS, Tokens, payload_of
from userapi.sessions.callers import Callers
from userapi.sessions.first_use import FirstUses

router = openapi.router(tags=["auth"], route_class=FormRoute, dependencies=[NOT_CROSS_SITE])


class _Services(Protocol):
    """What is needed here of a running service."""

    @property
    def database(self) -> Database: ...

    @property
    def callers(self) -> Callers: ...

    @property
    def tokens(self) -> Tokens: ...

    @property
    def first_uses(self) -> FirstUses: ...


class _ClientBasic(HTTPBasic):
    """Client credentials in the header `Authorization` (RFC 6749 section 2.3.1)."""

    async def __call__(self, request: Request) -> HTTPBasicCredentials | None:  # type: ignore[override]  # as HTTPBasic's
        """Return them, as they were before the client encoded them."""
        try:
            found = await super().__call__(request)
        except HTTPException as error:
            raise ApiError(ErrorCode.INVALID_CLIENT) from error
        if found is None:
            return None
        return HTTPBasicCredentials(username=unquote_plus(found.username), password=unquote_plus(found.password))


_basic = _ClientBasic(
    scheme_name="ClientBasic",
    auto_error=False,
    description="Client credentials of another service: `python -m userapi create-client NAME`",
)


class IntrospectionRequest(BaseModel):
    """A token to ask about (RFC 7662 section 2.1), and client credentials unless they are in the header."""

    model_config = ConfigDict(json_schema_extra={"required": ["token"]})  # an answer of our own refuses its absence

    token: str = Field(default_factory=str, min_length=1, description="An access token")
    token_type_hint: str = Field("", description="Ignored")
    client_id: str = ""
    client_secret: str = Field("", json_schema_extra={"format": "password"})


class Introspection(BaseModel):
    """What a token is worth now (RFC 7662 section 2.2); of one that is worth nothing, `active` alone is told."""

    active: bool
    iss: str | None = None
    sub: str | None = Field(None, description="The user's id")
    username: str | None = None
    aud: str | None = None
    client_id: str | None = None
    jti: str | None = None
    iat: int | None = None
    exp: int | None = None
    token_type: str | None = None


@openapi.raises(ErrorCode.INVALID_CLIENT, ErrorCode.DATABASE_UNAVAILABLE)
async def _known_client(
    request: Request,
    form: Annotated[IntrospectionRequest, Form()],
    basic: Annotated[HTTPBasicCredentials | None, Depends(_basic)],
) -> IntrospectionRequest:
    """Return the request of a client that has shown who it is."""
    database: Database = request.app.state.services.database
    name, secret = (basic.username, basic.password) if basic else (form.client_id, form.client_secret)
    if not await database.read(rules.is_known, name, secret):
        raise ApiError(ErrorCode.INVALID_CLIENT)
    return form


@router.post("/introspect", response_model_exclude_none=True)
@openapi.raises(ErrorCode.INVALID_REQUEST)
async def introspect(form: Annotated[IntrospectionRequest, Depends(_known_client)], request: Request) -> Introspection:
    """Ask whether an access token is good at this moment (RFC 7662), as a service with client credentials.

    A token whose session has ended, however it ended, is not active. Neither is a refresh token: it opens no resource.
    """
    if not form.token:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    services: _Services = request.app.state.services
    claims = services.tokens.read(ACCESS, form.token)
    caller = await services.callers.find(claims) if claims else None
    if caller is None:
        return Introspection(active=False)
    if caller.first_use:
        await services.first_uses.note(caller.session_id, caller.generation)
    told = payload_of(form.token) | {"username": caller.user.username, "token_type": "Bearer"}
    return Introspection(active=True, **{name: told[name] for name in Introspection.model_fields if name in told})
