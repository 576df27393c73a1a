"""Authentication: a password or a refresh token becomes a pair of tokens, and tokens are revoked."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from userapi import accounts, logs, sessions
from userapi.database import Database
from userapi.errors import ApiError, ErrorCode
from userapi.models import now
from userapi.security import ACCESS, REFRESH, Claims, Passwords, Tokens
from userapi.settings import Settings
from userapi.throttle import Throttle

ATTEMPTS = 2  # at a login: the hash may just have been renewed by another


class TokenPair(NamedTuple):
    """What a grant gives: an access token good for `expires_in` seconds, and a refresh token."""

    access_token: str
    expires_in: int
    refresh_token: str


class Login:
    """Checks who somebody is: between the units of work stands bcrypt, so this is more than one of them."""

    def __init__(
        self, settings: Settings, database: Database, passwords: Passwords, tokens: Tokens, throttle: Throttle | None
    ) -> None:
        self._database, self._passwords, self._tokens, self._throttle = database, passwords, tokens, throttle
        self._access_lifetime = timedelta(minutes=settings.access_token_expire_minutes)
        self._lifetime = sessions.Lifetime(
            idle=timedelta(days=settings.refresh_token_expire_days), whole=timedelta(days=settings.session_max_days)
        )

    async def with_password(self, username: str, password: str, client: sessions.Client) -> TokenPair:
        """Begin a session for a username or e-mail address and its password (RFC 6749 section 4.3).

        Raises ApiError: invalid_credentials, too_many_attempts, overloaded, database_unavailable. Unknown, wrong and
        inactive take the same time.
        """
        await self._admit(username, client)
        for _ in range(ATTEMPTS):
            found = await self._database.read(accounts.credentials, username)
            if not await self._verify(username, password, found, client) or found is None:
                break
            if pair := await self._begin(found, password, client):
                return pair
        raise ApiError(ErrorCode.INVALID_CREDENTIALS)

    async def with_refresh_token(self, token: str) -> TokenPair:
        """Renew the tokens of a session (RFC 6749 section 6).

        Raises ApiError: invalid_grant, database_unavailable. A token used before ends its session.
        """
        at = now()
        claims = self._tokens.read(REFRESH, token)
        if claims is None:
            raise ApiError(ErrorCode.INVALID_GRANT)
        current = await self._database.write(sessions.refresh, *claims, at, self._lifetime)
        if current is None:
            raise ApiError(ErrorCode.INVALID_GRANT)
        return self._pair(claims.user_id, current, at)

    async def revoke(self, token: str) -> None:
        """End the session that an access or a refresh token belongs to; any other token is none already (RFC 7009)."""
        for purpose in (REFRESH, ACCESS):
            if claims := self._tokens.read(purpose, token):
                await self._database.write(sessions.end, claims.user_id, claims.session_id)

    async def _begin(self, found: accounts.Credentials, password: str, client: sessions.Client) -> TokenPair | None:
        """Begin a session with a verified password; None, if the account has changed since it was read."""
        outdated = self._passwords.outdated(found.hashed_password)
        better_hash = await self._passwords.hash(password) if outdated else None
        begun = await self._database.write(
            sessions.begin, found.user_id, found.hashed_password, client, now(), self._lifetime, better_hash
        )
        if begun is None:
            return None
        logs.event("login_succeeded", user_id=found.user_id, session_id=begun.session_id, ip=client.ip)
        return self._pair(found.user_id, begun, begun.rotated_at)

    async def prove_change(
        self, caller: accounts.Caller, user_id: int, changes: Mapping[str, Any], client: sessions.Client
    ) -> tuple[str | None, accounts.NewPassword | None]:
        """Do what a change of a user needs of bcrypt: check the caller's current password, hash the new one.

        Gives the hash that the current password was found to have, None if it was not needed, and the new password.

        Raises ApiError: current_password_required, current_password_incorrect, too_many_attempts, overloaded,
        database_unavailable.
        """
        verified_hash = new_password = None
        if user_id == caller.user.id and accounts.needs_current_password(caller, changes):
            verified_hash = await self._verify_own(caller, changes.get("current_password"), client)
        if password := changes.get("password"):
            new_password = accounts.NewPassword(password, await self._passwords.hash(password))
        return verified_hash, new_password

    async def _verify_own(self, caller: accounts.Caller, password: str | None, client: sessions.Client) -> str:
        if password is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_REQUIRED)
        await self._admit(caller.user.username, client)
        found = await self._database.read(accounts.credentials, caller.user.username)
        if not await self._verify(caller.user.username, password, found, client) or found is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_INCORRECT)
        return found.hashed_password

    async def _admit(self, login: str, client: sessions.Client) -> None:
        try:
            if self._throttle is not None:
                await self._throttle.check(login, client.ip)
        except ApiError:
            logs.event("login_throttled", login=login[:64], ip=client.ip)
            raise

    async def _verify(
        self, login: str, password: str, found: accounts.Credentials | None, client: sessions.Client
    ) -> bool:
        """Check a password; whoever was locked while waiting for the turn is refused like the rest."""
        async with self._passwords.turn():
            await self._admit(login, client)
            right = await self._passwords.verify(password, found and found.hashed_password)
            right = right and found is not None and found.is_active
            if self._throttle is not None:
                await (self._throttle.forgive(login) if right else self._throttle.fail(login, client.ip))
        if not right:
            logs.event("login_failed", login=login[:64], user_id=found and found.user_id, ip=client.ip)
        return right

    def _pair(self, user_id: int, current: sessions.Current, at: datetime) -> TokenPair:
        """The tokens of a session. Those of one generation have the same refresh token, whoever asks for it."""
        claims = Claims(user_id, current.session_id, current.generation)
        until = min(at + self._access_lifetime, current.expires_at)
        return TokenPair(
            self._tokens.issue(ACCESS, claims, at=at, until=until),
            int((until - at).total_seconds()),
            self._tokens.issue(REFRESH, claims, at=current.rotated_at, until=current.expires_at),
        )
