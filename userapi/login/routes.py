"""Tokens: got by logging in, renewed, revoked."""

from typing import Annotated, Literal

from fastapi import Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import MISSING, BaseModel, ConfigDict, Field

from userapi.cookies import refresh_cookie
from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep
from userapi.kit.web.forms import FormRoute
from userapi.login.flow import Login

router = openapi.router(tags=["auth"], route_class=FormRoute, dependencies=[NOT_CROSS_SITE])


@openapi.raises(ErrorCode.DATABASE_UNAVAILABLE)
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
    refresh_in_cookie: bool = Field(False, description="Keep the refresh token in a cookie, not in the answer")
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
    refresh_token: str | MISSING = Field(MISSING, description="Absent if it is in a cookie")
    refresh_expires_in: int = Field(description="Lifetime of the refresh token, in seconds")


class Revoked(BaseModel):
    """That the token is none any more: an object without members, for clients that expect JSON."""


@router.post("/token")
@openapi.raises(
    ErrorCode.INVALID_CREDENTIALS,
    ErrorCode.INVALID_GRANT,
    ErrorCode.EMAIL_NOT_VERIFIED,
    ErrorCode.UNSUPPORTED_GRANT_TYPE,
    ErrorCode.VALIDATION_ERROR,
    ErrorCode.TOO_MANY_ATTEMPTS,
    ErrorCode.OVERLOADED,
)
async def log_in(
    form: Annotated[TokenRequest, Form()], client: ClientDep, login: LoginDep, request: Request, response: Response
) -> TokenResponse:
    """Log in with username or e-mail address and password, or renew the tokens with a refresh token.

    A refresh token serves once: the answer brings the next one. It serves again if that answer was lost. Once a token
    of the answer was used, presenting the old one ends the session, unless within 10 s and from the same client.

    With `refresh_in_cookie` a browser keeps the refresh token where no script can read it. It need not be sent then.
    Only pages of the same site, or of an origin in `CORS_ORIGINS`, may ask for that.
    """
    in_cookie = form.refresh_in_cookie
    if in_cookie:
        refresh_cookie.require_own_page(request)
    if form.grant_type == "refresh_token":
        token = form.refresh_token or refresh_cookie.token_of(request)
        if not token:
            raise _missing("refresh_token")
        in_cookie = in_cookie or not form.refresh_token
        pair = await login.with_refresh_token(token, client)
    elif form.grant_type == "password":
        if not form.username or not form.password:
            raise _missing(*(name for name in ("username", "password") if not getattr(form, name)))
        pair = await login.with_password(form.username, form.password, client)
    else:
        raise ApiError(ErrorCode.UNSUPPORTED_GRANT_TYPE)
    granted = pair._asdict()
    if in_cookie:
        refresh_cookie.keep(response, granted.pop("refresh_token"), pair.refresh_expires_in)
    return TokenResponse(**granted)


@router.post("/revoke")
@openapi.raises(ErrorCode.INVALID_REQUEST)
async def revoke_token(
    form: Annotated[RevocationRequest, Form()], login: LoginDep, request: Request, response: Response
) -> Revoked:
    """Log out: end the session of this token (RFC 7009). A token that is none any more is fine, too.

    Without a token it is that of the cookie, which the browser then forgets.
    """
    token = form.token or refresh_cookie.token_of(request)
    if not token:
        raise ApiError(ErrorCode.INVALID_REQUEST)
    await login.revoke(token)
    if not form.token:
        refresh_cookie.forget(response)
    return Revoked()


def _missing(*names: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "missing", "loc": ("body", name), "msg": "Field required"} for name in names]
    )
