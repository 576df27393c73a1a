"""Authentication: a password or a refresh token becomes a pair of tokens, and tokens are revoked."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from userapi import accounts, sessions
from userapi.database import Database
from userapi.errors import (
    CurrentPasswordIncorrect,
    CurrentPasswordRequired,
    InvalidCredentials,
    InvalidGrant,
    InvalidToken,
    SessionNotFound,
)
from userapi.models import now
from userapi.security import ACCESS, REFRESH, Claims, Passwords, Tokens
from userapi.settings import Settings


class TokenPair(NamedTuple):
    """What a grant gives: an access token good for `expires_in` seconds, and a refresh token."""

    access_token: str
    expires_in: int
    refresh_token: str


class Login:
    """Checks who somebody is: between the units of work stands bcrypt, so this is more than one of them."""

    def __init__(self, settings: Settings, database: Database, passwords: Passwords, tokens: Tokens) -> None:
        self._database, self._passwords, self._tokens = database, passwords, tokens
        self._access_lifetime = timedelta(minutes=settings.access_token_expire_minutes)
        self._lifetime = sessions.Lifetime(
            idle=timedelta(days=settings.refresh_token_expire_days), whole=timedelta(days=settings.session_max_days)
        )

    async def with_password(self, username: str, password: str, client: sessions.Client) -> TokenPair:
        """Begin a session for a username or e-mail address and its password (RFC 6749 section 4.3).

        Raises: InvalidCredentials, Overloaded, DatabaseUnavailable. Unknown, wrong and inactive take the same time.
        """
        found = await self._database.read(accounts.credentials, username)
        if not await self._passwords.verify(password, found and found.hashed_password) or found is None:
            raise InvalidCredentials
        outdated = self._passwords.outdated(found.hashed_password)
        better_hash = await self._passwords.hash(password) if outdated else None
        begun = await self._database.write(
            sessions.begin, found.user_id, found.hashed_password, client, now(), self._lifetime, better_hash
        )
        if begun is None:
            raise InvalidCredentials
        return self._pair(found.user_id, begun, begun.rotated_at)

    async def with_refresh_token(self, token: str) -> TokenPair:
        """Renew the tokens of a session (RFC 6749 section 6).

        Raises: InvalidGrant, DatabaseUnavailable. A token used before ends its session.
        """
        at = now()
        try:
            claims = self._tokens.read(REFRESH, token)
        except InvalidToken as error:
            raise InvalidGrant from error
        current = await self._database.write(sessions.refresh, *claims, at, self._lifetime)
        if current is None:
            raise InvalidGrant
        return self._pair(claims.user_id, current, at)

    async def revoke(self, token: str) -> None:
        """End the session that an access or a refresh token belongs to; any other token is none already (RFC 7009)."""
        for purpose in (REFRESH, ACCESS):
            try:
                user_id, session_id, _ = self._tokens.read(purpose, token)
                await self._database.write(sessions.end, user_id, session_id)
            except (InvalidToken, SessionNotFound):
                continue

    async def prove_change(
        self, caller: accounts.Caller, user_id: int, changes: Mapping[str, Any]
    ) -> tuple[str | None, accounts.NewPassword | None]:
        """Do what a change of a user needs of bcrypt: check the caller's current password, hash the new one.

        Gives the hash that the current password was found to have, None if it was not needed, and the new password.

        Raises: CurrentPasswordRequired, CurrentPasswordIncorrect, Overloaded, DatabaseUnavailable.
        """
        verified_hash = new_password = None
        if user_id == caller.user.id and accounts.needs_current_password(caller, changes):
            verified_hash = await self._verify_own(caller, changes.get("current_password"))
        if password := changes.get("password"):
            new_password = accounts.NewPassword(password, await self._passwords.hash(password))
        return verified_hash, new_password

    async def _verify_own(self, caller: accounts.Caller, password: str | None) -> str:
        if password is None:
            raise CurrentPasswordRequired
        hashed_password = await self._database.read(accounts.hash_of, caller.user.id)
        if hashed_password is None or not await self._passwords.verify(password, hashed_password):
            raise CurrentPasswordIncorrect
        return hashed_password

    def _pair(self, user_id: int, current: sessions.Current, at: datetime) -> TokenPair:
        """The tokens of a session. Those of one generation have the same refresh token, whoever asks for it."""
        claims = Claims(user_id, current.session_id, current.generation)
        until = min(at + self._access_lifetime, current.expires_at)
        return TokenPair(
            self._tokens.issue(ACCESS, claims, at=at, until=until),
            int((until - at).total_seconds()),
            self._tokens.issue(REFRESH, claims, at=current.rotated_at, until=current.expires_at),
        )
