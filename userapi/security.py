"""Passwords (bcrypt, the commonest) and tokens (JWT): what needs no database."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import bcrypt
import jwt
from jwt.utils import base64url_encode

from userapi.errors import ApiError, ErrorCode
from userapi.models import MAX_ID, MAX_PASSWORD_BYTES, MIN_PASSWORD

R = TypeVar("R")

ALGORITHM = "HS256"
REQUIRED_CLAIMS = ["sub", "sid", "gen", "iat", "exp", "aud"]
ACCESS, REFRESH = "userapi:access", "userapi:refresh"  # a token's purpose is its audience (RFC 8725 section 3.9)
MAX_CHECKED = 10_000  # tokens remembered as good
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

        Raises ApiError: overloaded, when too many wait already.
        """
        async with self.turn():
            return await self._compute(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds)).decode())

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell, in one's turn, whether the password has this hash; without a hash, take as long to say no."""
        return await self._compute(lambda: _matches(password, hashed_password or self._nobody))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a core of one's own. What must hold when a password is checked is checked in here.

        Raises ApiError: overloaded, when too many wait already.
        """
        if not self._room:
            raise ApiError(ErrorCode.OVERLOADED)
        self._room -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._room += 1

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _compute(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def outdated(self, hashed_password: str) -> bool:
        """Tell whether a hash was made at another cost than is now asked for."""
        return hashed_password.split("$")[2:3] != [f"{self._rounds:02}"]


def is_common(password: str) -> bool:
    """Tell whether a password is one of the commonest, whatever the case of its letters."""
    return password.casefold() in _common_passwords()


@cache
def _common_passwords() -> frozenset[str]:
    """Those of zxcvbn's ranked list that are long enough; it is all lower case, and takes 0.1 s to load."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - not before it is needed

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_PASSWORD)


def _matches(password: str, hashed_password: str) -> bool:
    try:
        secret = password.encode()
        if len(secret) > MAX_PASSWORD_BYTES or b"\0" in secret:
            return False  # no hash was ever made of it; bcrypt raises or cuts it off
        return bcrypt.checkpw(secret, hashed_password.encode())
    except ValueError:  # a lone surrogate, which JSON can say, or not a bcrypt hash
        return False


class Claims(NamedTuple):
    """Whom a token speaks for, in which login session; for a refresh token also the generation."""

    user_id: int
    session_id: int
    generation: int


class Tokens:
    """Signs and checks tokens (RFC 7519, RFC 8725)."""

    def __init__(self, secrets: list[str]) -> None:
        """`secrets` are HS256 keys: the first signs, all verify. Parsing a key costs as much as checking a token."""
        self._keys = [
            jwt.PyJWK({"kty": "oct", "k": base64url_encode(secret.encode()).decode(), "alg": ALGORITHM})
            for secret in secrets
        ]
        # What a signature says does not change until it expires; checking it costs as much as the query that follows.
        self._checked: dict[tuple[str, str], tuple[Claims | None, float]] = {}

    def issue(self, purpose: str, claims: Claims, *, at: datetime, until: datetime) -> str:
        """Give a token for `purpose` that is good from `at` to `until`, as long as its login session lives."""
        payload: dict[str, Any] = {"sub": str(claims.user_id), "sid": claims.session_id, "gen": claims.generation}
        payload |= {"iat": int(at.timestamp()), "exp": int(until.timestamp()), "aud": purpose}
        return jwt.encode(payload, self._keys[0], ALGORITHM)

    def read(self, purpose: str, token: str) -> Claims | None:
        """Check a token's signature, purpose and time, and give its claims; None, if anything is wrong with it.

        Whether the login session is still alive is for the database to say.
        """
        claims, expires_at = self._checked.get((purpose, token), (None, 0))
        if expires_at > time.time():
            return claims
        for key in self._keys:
            try:
                payload = jwt.decode(token, key, [ALGORITHM], options={"require": REQUIRED_CLAIMS}, audience=purpose)
                claims = Claims(int(payload["sub"]), int(payload["sid"]), int(payload["gen"]))
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
                return None
            if not all(1 <= part <= MAX_ID for part in claims) or payload["sub"] != str(claims.user_id):
                return None
            if len(self._checked) >= MAX_CHECKED:
                self._checked.clear()
            self._checked[purpose, token] = claims, payload["exp"]
            return claims
        return None
