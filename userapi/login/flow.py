"""How somebody logs in: a password or a refresh token becomes a pair of tokens, and tokens are revoked."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlmodel import Session

from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database
from userapi.kit.web.client import Client
from userapi.models import now
from userapi.proof import guards
from userapi.proof.credentials import Credentials
from userapi.proof.password_check import PasswordCheck
from userapi.security.hashing import Passwords
from userapi.security.tokens import ACCESS, REFRESH, Claims, Tokens
from userapi.sessions import generations
from userapi.sessions import rules as sessions
from userapi.settings import CoreSettings

ATTEMPTS = 2  # at a login: the hash may just have been renewed by another


class TokenPair(NamedTuple):
    """What a grant gives: an access token and a refresh token, and for how many seconds they are good."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


class Login:
    """Grants tokens: between the units of work stands bcrypt, so this is more than one of them."""

    def __init__(
        self,
        settings: CoreSettings,
        database: Database,
        passwords: Passwords,
        tokens: Tokens,
        check: PasswordCheck,
    ) -> None:
        """Grant tokens whose lifetimes the settings tell."""
        self._database, self._passwords, self._tokens, self._check = database, passwords, tokens, check
        self._verified_only = settings.email_verification == "required"
        self._access_lifetime = timedelta(minutes=settings.access_token_expire_minutes)
        self._lifetime = sessions.Lifetime(
            idle=timedelta(days=settings.refresh_token_expire_days), whole=timedelta(days=settings.session_max_days)
        )

    async def with_password(self, username: str, password: str, client: Client) -> TokenPair:
        """Begin a session for a username or e-mail address and its password (RFC 6749 section 4.3).

        Unknown, wrong and inactive take the same time.

        Raises:
            ApiError: invalid_credentials, too_many_attempts, overloaded, database_unavailable; email_not_verified, if
                the password is right.
        """
        for _ in range(ATTEMPTS):
            found = await self._check.credentials(username, password, client)
            if found is None:
                break
            if self._verified_only and not found.email_verified:
                raise ApiError(ErrorCode.EMAIL_NOT_VERIFIED)
            new_device = await self._check.is_new_device(found, client)
            if pair := await self._begin(found, password, client, new_device=new_device):
                return pair
        raise ApiError(ErrorCode.INVALID_CREDENTIALS)

    async def with_refresh_token(self, token: str, client: Client) -> TokenPair:
        """Renew the tokens of a session (RFC 6749 section 6). A token that was copied ends its session.

        Raises:
            ApiError: invalid_grant, database_unavailable.
        """
        at = now()
        claims = self._tokens.read(REFRESH, token)
        if claims is None:
            raise ApiError(ErrorCode.INVALID_GRANT)
        write, lifetime = self._database.write, self._lifetime
        try:
            current = await write(generations.refresh, claims, client, at, lifetime)
        except generations.CopyFoundError:
            current = await write(generations.refresh, claims, client, at, lifetime, user_first=True)
        if current is None:
            raise ApiError(ErrorCode.INVALID_GRANT)
        return self._pair(claims.user_id, current, at)

    async def revoke(self, token: str) -> None:
        """End the session that an access or a refresh token belongs to; any other token is none already (RFC 7009).

        Raises:
            ApiError: database_unavailable.
        """
        for purpose in (REFRESH, ACCESS):
            if claims := self._tokens.read(purpose, token):
                await self._database.write(sessions.log_out, claims)

    async def _begin(self, found: Credentials, password: str, client: Client, *, new_device: bool) -> TokenPair | None:
        """Begin a session with a verified password; return None if the account has changed since it was read."""
        outdated = self._passwords.outdated(found.hashed_password, password)
        better_hash = await self._passwords.hash(password) if outdated else None
        at = now()

        def begin(db: Session) -> sessions.Current | None:
            begun = sessions.begin(
                db, found.user_id, found.hashed_password, client, at, self._lifetime, better_hash=better_hash
            )
            if begun is not None and new_device:
                guards.remember(db, found.user_id, client, at)
            return begun

        begun = await self._database.write(begin)
        if begun is None:
            return None
        return self._pair(found.user_id, begun, at)

    def _pair(self, user_id: int, current: sessions.Current, at: datetime) -> TokenPair:
        """Return the tokens of a session. Those of one generation have one refresh token, whoever asks for it."""
        claims = Claims(user_id, current.session_id, current.generation, current.nonce)
        until = min(at + self._access_lifetime, current.expires_at)
        return TokenPair(
            self._tokens.issue_access(claims, at=at, until=until),
            int((until - at).total_seconds()),
            self._tokens.issue_refresh(claims, at=current.rotated_at, until=current.expires_at),
            int((current.expires_at - at).total_seconds()),
        )
