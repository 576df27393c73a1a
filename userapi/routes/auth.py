"""Logging in."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, Field

from userapi import accounts, sessions
from userapi.dependencies import ClientDep, DatabaseDep, PasswordsDep, SettingsDep, TokensDep
from userapi.errors import DatabaseUnavailable, InvalidCredentials, Overloaded, ValidationErrorBody, responses
from userapi.models import now
from userapi.security import AccessClaims

router = APIRouter(tags=["auth"])


class TokenResponse(BaseModel):
    """A successful login (RFC 6749 section 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Lifetime of the access token, in seconds")


@router.post(
    "/token",
    responses=responses(InvalidCredentials, Overloaded, DatabaseUnavailable) | {422: {"model": ValidationErrorBody}},
)
async def log_in(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    response: Response,
    client: ClientDep,
    database: DatabaseDep,
    passwords: PasswordsDep,
    tokens: TokensDep,
    settings: SettingsDep,
) -> TokenResponse:
    """Log in with a username or an e-mail address, and the password."""
    found = await database.read(accounts.credentials, form.username)
    if not await passwords.verify(form.password, found and found.hashed_password) or found is None:
        raise InvalidCredentials
    lifetime = timedelta(minutes=settings.access_token_expire_minutes)
    at = now()
    session_id = await database.write(sessions.open_session, *found, client, at, at + lifetime)
    if session_id is None:
        raise InvalidCredentials
    response.headers["Cache-Control"] = "no-store"
    token = tokens.issue_access(AccessClaims(found.user_id, session_id), at=at, until=at + lifetime)
    return TokenResponse(access_token=token, expires_in=int(lifetime.total_seconds()))
