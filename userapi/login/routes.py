"""Tokens: got by logging in, renewed, revoked."""

from typing import Annotated, Literal

from fastapi import Depends, Form, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep
from userapi.kit.web.forms import FormRoute
from userapi.kit.web.problems import MissingParameters
from userapi.login.flow import Login

router = openapi.router(
    tags=["auth"],
    route_class=FormRoute,
    dependencies=[NOT_CROSS_SITE],
    responses=openapi.responses(ErrorCode.CROSS_SITE_REFUSED) | openapi.INVALID,
)


async def _login(request: Request) -> Login:
    login: Login = request.app.state.services.login
    return login


LoginDep = Annotated[Login, Depends(_login)]


class TokenRequest(BaseModel):
    """A grant (RFC 6749 sections 4.3.2 and 6). Client credentials and scopes may come along and are ignored."""

    grant_type: str = Field("password", json_schema_extra={"enum": ["password", "refresh_token"]})
    username: str = Field("", description="Username or e-mail address; required with `password`")
    password: str = Field("", description="Required with `password`", json_schema_extra={"format": "password"})
    refresh_token: str = Field("", description="Required with `refresh_token`")
    scope: str = ""
    client_id: str = ""
    client_secret: str = Field("", json_schema_extra={"format": "password"})


class RevocationRequest(BaseModel):
    """A token to revoke (RFC 7009 section 2.1)."""

    model_config = ConfigDict(json_schema_extra={"required": ["token"]})  # an answer of our own refuses its absence

    token: str = Field(default_factory=str, min_length=1, description="An access or a refresh token")
    token_type_hint: str = Field("", description="Ignored: both kinds are tried")


class TokenResponse(BaseModel):
    """A granted pair of tokens (RFC 6749 section 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Lifetime of the access token, in seconds")
    refresh_token: str


@router.post(
    "/token",
    responses=openapi.responses(
        ErrorCode.INVALID_CREDENTIALS,
        ErrorCode.INVALID_GRANT,
        ErrorCode.EMAIL_NOT_VERIFIED,
        ErrorCode.UNSUPPORTED_GRANT_TYPE,
        ErrorCode.TOO_MANY_ATTEMPTS,
        ErrorCode.OVERLOADED,
        ErrorCode.DATABASE_UNAVAILABLE,
    ),
)
async def log_in(form: Annotated[TokenRequest, Form()], client: ClientDep, login: LoginDep) -> TokenResponse:
    """Log in with username or e-mail address and password, or renew the tokens with a refresh token.

    A refresh token serves once: the answer brings the next one. It serves again if that answer was lost. Once a token
    of the answer was used, presenting the old one ends the session, unless within 10 s and from the same client.
    """
    if form.grant_type == "refresh_token":
        if not form.refresh_token:
            raise MissingParameters("refresh_token")
        pair = await login.with_refresh_token(form.refresh_token, client)
    elif form.grant_type == "password":
        if not form.username or not form.password:
            raise MissingParameters(*(name for name in ("username", "password") if not getattr(form, name)))
        pair = await login.with_password(form.username, form.password, client)
    else:
        raise ApiError(ErrorCode.UNSUPPORTED_GRANT_TYPE)
    return TokenResponse(**pair._asdict())


@router.post(
    "/revoke",
    response_class=Response,
    responses=openapi.responses(ErrorCode.INVALID_REQUEST, ErrorCode.DATABASE_UNAVAILABLE),
)
async def revoke_token(form: Annotated[RevocationRequest, Form()], login: LoginDep) -> Response:
    """Log out: end the session of this token (RFC 7009). A token that is none any more is fine, too."""
    if not form.token:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    await login.revoke(form.token)
    return Response()
