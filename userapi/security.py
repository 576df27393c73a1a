"""Passwords (bcrypt) and tokens (JWT): what is computed from secrets, without any database."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, TypeVar

import bcrypt
import jwt
from jwt.utils import base64url_encode

from userapi.errors import InvalidToken, Overloaded
from userapi.models import MAX_ID, MAX_PASSWORD_BYTES

R = TypeVar("R")

ALGORITHM = "HS256"
REQUIRED_CLAIMS = ["sub", "sid", "iat", "exp", "aud"]
ACCESS = "userapi:access"  # the audience that says a token's purpose (RFC 8725 section 3.9)
MAX_WAITING = 32  # passwords a core; at cost 12 and 0.3 s each the last one waits 10 s


class Passwords:
    """bcrypt in threads of its own, one a core: it lets go of the interpreter lock, so requests go on meanwhile."""

    def __init__(self, rounds: int) -> None:
        """`rounds` is bcrypt's cost, the base-2 logarithm of its iterations."""
        cores = os.cpu_count() or 1
        self._rounds = rounds
        self._nobody = (bcrypt.gensalt(rounds) + b"." * 31).decode()
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="bcrypt")
        self._slots = asyncio.Semaphore(cores)
        self._room = max(MAX_WAITING * cores, 64)

    async def hash(self, password: str) -> str:
        """Give the hash to keep of a password of at most 72 bytes.

        Raises: Overloaded, when too many wait already.
        """
        return await self._in_turn(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds)).decode())

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell whether the password has this hash; without a hash, take as long to say no.

        Raises: Overloaded, when too many wait already.
        """
        return await self._in_turn(lambda: _matches(password, hashed_password or self._nobody))

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[], R]) -> R:
        if not self._room:
            raise Overloaded
        self._room -= 1
        try:
            async with self._slots:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._room += 1


def _matches(password: str, hashed_password: str) -> bool:
    secret = password.encode()
    if len(secret) > MAX_PASSWORD_BYTES or b"\0" in secret:
        return False  # no hash was ever made of it; bcrypt raises or cuts it off
    try:
        return bcrypt.checkpw(secret, hashed_password.encode())
    except ValueError:  # not a bcrypt hash
        return False


class AccessClaims(NamedTuple):
    """Whom an access token speaks for, and in which login session."""

    user_id: int
    session_id: int


class Tokens:
    """Signs and checks tokens (RFC 7519, RFC 8725)."""

    def __init__(self, secret: str) -> None:
        """`secret` is the HS256 key. It is prepared once: parsing it costs as much as checking a token."""
        key = {"kty": "oct", "k": base64url_encode(secret.encode()).decode(), "alg": ALGORITHM}
        self._key = jwt.PyJWK(key)

    def issue_access(self, claims: AccessClaims, *, at: datetime, until: datetime) -> str:
        """Give an access token that is good from `at` to `until`, as long as its login session lives."""
        payload = {"sub": str(claims.user_id), "sid": claims.session_id, "iat": at, "exp": until, "aud": ACCESS}
        return jwt.encode(payload, self._key, ALGORITHM)

    def read_access(self, token: str) -> AccessClaims:
        """Check an access token's signature, purpose and time, and give its claims.

        Raises: InvalidToken. Whether the login session is still alive is for the database to say.
        """
        try:
            payload = jwt.decode(token, self._key, [ALGORITHM], options={"require": REQUIRED_CLAIMS}, audience=ACCESS)
            claims = AccessClaims(int(payload["sub"]), int(payload["sid"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise InvalidToken from error
        if not all(1 <= part <= MAX_ID for part in claims):
            raise InvalidToken
        return claims
