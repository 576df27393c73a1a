"""bcrypt, in threads of its own and in turn."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import bcrypt

from userapi.errors import ApiError, ErrorCode
from userapi.models import MAX_PASSWORD_BYTES

R = TypeVar("R")

MAX_WAITING = 32  # passwords a core; at cost 12 and 0.3 s each the last one waits 10 s


class Passwords:
    """Hashes and verifies passwords with bcrypt.

    Each core has one thread for it: bcrypt lets go of the interpreter lock, so requests go on meanwhile.
    """

    def __init__(self, rounds: int) -> None:
        """Hash at the cost `rounds`, the base-2 logarithm of bcrypt's iterations (4 to 31)."""
        cores = os.cpu_count() or 1
        self._rounds = rounds
        self._nobody = (bcrypt.gensalt(rounds) + b"." * 31).decode()
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="bcrypt")
        self._slots = asyncio.Semaphore(cores)
        self._room = max(MAX_WAITING * cores, 64)

    async def hash(self, password: str) -> str:
        """Return the hash to keep of a password of at most 72 bytes.

        Raises:
            ApiError: overloaded, when too many wait already.
        """
        async with self.turn():
            return await self._compute(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds)).decode())

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell, in one's turn, whether the password has this hash; without a hash, take as long to say no."""
        return await self._compute(lambda: _matches(password, hashed_password or self._nobody))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a core of one's own. What must hold when a password is checked is checked in here.

        Raises:
            ApiError: overloaded, when too many wait already.
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

    def outdated(self, hashed_password: str) -> bool:
        """Tell whether a hash was made at another cost than is now asked for."""
        return hashed_password.split("$")[2:3] != [f"{self._rounds:02}"]

    async def _compute(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _matches(password: str, hashed_password: str) -> bool:
    try:
        secret = password.encode()
        if len(secret) > MAX_PASSWORD_BYTES or b"\0" in secret:
            return False  # no hash was ever made of it; bcrypt raises or cuts it off
        return bcrypt.checkpw(secret, hashed_password.encode())
    except ValueError:  # a lone surrogate, which JSON can say, or not a bcrypt hash
        return False
