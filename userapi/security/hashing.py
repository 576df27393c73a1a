"""bcrypt, in threads of its own and in turn; hashes that others made are verified there, too."""

import asyncio
import heapq
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import addresses
from userapi.kit.web.client import Client
from userapi.security import bcrypt_hash
from userapi.security.verification import Verifier

R = TypeVar("R")

MAX_WAITING = 128  # passwords a core
SHARE = 4  # one address, or one account, holds a quarter of that: at cost 12 and 0.3 s its last one waits 10 s


class FairQueue:
    """Gives so many turns at a time, fairly among the parties that wait: addresses and accounts.

    Each waiter has a tag, one more than the last of the parties it belongs to, and the lowest goes first (start-time
    fair queuing). So whoever comes with a first request waits for one turn of each other party, not for all their
    requests.
    """

    def __init__(self, turns: int, room: int) -> None:
        """Let so many have their turn at once, and so many wait or have it."""
        self._free, self._size, self._room, self._share = turns, room, room, room // SHARE
        self._present: Counter[str] = Counter()
        self._last: dict[str, int] = {}  # the highest tag of each party that is present
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tag = self._arrivals = 0

    @property
    def present(self) -> int:
        """Return how many wait or have their turn."""
        return self._size - self._room

    @asynccontextmanager
    async def turn(self, *parties: str) -> AsyncIterator[None]:
        """Wait for a turn and have it.

        Raises:
            ApiError: overloaded, when too many are here already, or too many of a party.
        """
        if not self._room or any(self._present[party] >= self._share for party in parties):
            raise ApiError(ErrorCode.OVERLOADED)
        parties = parties or ("",)
        self._room -= 1
        self._present.update(parties)
        try:
            await self._wait(parties)
            try:
                yield
            finally:
                self._pass_on()
        finally:
            self._room += 1
            self._leave(parties)

    async def _wait(self, parties: tuple[str, ...]) -> None:
        tag = max(self._tag, *(self._last.get(party, -1) + 1 for party in parties))
        self._last.update(dict.fromkeys(parties, tag))
        if self._free:
            self._free -= 1
            return
        called = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (tag, self._arrivals, called))
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._pass_on()  # its turn came at the moment when it was given up
            raise

    def _pass_on(self) -> None:
        """Give a turn that has ended to the next who still waits."""
        while self._waiting:
            tag, _, called = heapq.heappop(self._waiting)
            if not called.done():
                self._tag = tag
                called.set_result(None)
                return
        self._free += 1

    def _leave(self, parties: tuple[str, ...]) -> None:
        self._present.subtract(parties)
        for party in parties:
            if not self._present[party]:
                del self._present[party], self._last[party]


class Passwords:
    """Hashes and verifies passwords with bcrypt.

    Each core has one thread for it: bcrypt lets go of the interpreter lock, so requests go on meanwhile.
    """

    def __init__(self, rounds: int) -> None:
        """Hash at the cost `rounds`, the base-2 logarithm of bcrypt's iterations (4 to 31)."""
        cores = os.cpu_count() or 1
        self._rounds, self._verifier = rounds, Verifier(rounds)
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="bcrypt")
        self._queue = FairQueue(cores, max(MAX_WAITING * cores, 256))

    @property
    def waiting(self) -> int:
        """Return how many passwords are hashed or wait for it."""
        return self._queue.present

    async def hash(self, password: str, client: Client | None = None) -> str:
        """Return the hash to keep of a password of at most 72 bytes.

        Raises:
            ApiError: overloaded, when too many wait already.
        """
        async with self.turn(client):
            return await self._compute(lambda: bcrypt_hash.make(password.encode(), self._rounds))

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell, in one's turn, whether the password has this hash. Without a hash the answer is no.

        A no takes the same time whatever the hash: that of the dearest one known.
        """
        return await self._compute(lambda: self._verifier.matches(password, hashed_password))

    def expect(self, cost: int | None) -> None:
        """Take note that there are hashes of bcrypt at this cost, as after `BCRYPT_ROUNDS` was lowered."""
        self._verifier.expect(cost or 0)

    @asynccontextmanager
    async def turn(self, client: Client | None = None, account: str | None = None) -> AsyncIterator[None]:
        """Wait for a core of one's own. What must hold when a password is checked is checked in here.

        Raises:
            ApiError: overloaded, when too many wait already, or the client has gone meanwhile.
        """
        network = addresses.network(client.ip) if client is not None else None
        async with self._queue.turn(*(party for party in (network, account) if party is not None)):
            if client is not None and await client.gone():
                raise ApiError(ErrorCode.OVERLOADED)  # which nobody reads
            yield

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def outdated(self, hashed_password: str, password: str) -> bool:
        """Tell whether a hash is another one than would be made now of its password, and that can be made."""
        return bcrypt_hash.cost_of(hashed_password) != self._rounds and bcrypt_hash.hashable(password.encode())

    async def _compute(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
