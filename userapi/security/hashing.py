"""bcrypt, in threads of its own and in turn; hashes that others made are verified there, too."""

import asyncio
import heapq
import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

import bcrypt

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import addresses
from userapi.kit.web.client import Client
from userapi.models import MAX_PASSWORD_BYTES
from userapi.security import foreign_hashes
from userapi.security.foreign_hashes import bcrypt_cost

R = TypeVar("R")

MIN_COST, MAX_COST = 4, 31  # of bcrypt
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
        self._free, self._room, self._share = turns, room, room // SHARE
        self._present: Counter[str] = Counter()
        self._last: dict[str, int] = {}  # the highest tag of each party that is present
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tag = self._arrivals = 0

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
        self._rounds = self._dearest = rounds
        self._foreign: dict[str, float] = {"": 0}  # the work of each kind of foreign hash met, in rounds of bcrypt
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="bcrypt")
        self._queue = FairQueue(cores, max(MAX_WAITING * cores, 256))

    async def hash(self, password: str, client: Client | None = None) -> str:
        """Return the hash to keep of a password of at most 72 bytes.

        Raises:
            ApiError: overloaded, when too many wait already.
        """
        async with self.turn(client):
            return await self._compute(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds)).decode())

    async def verify(self, password: str, hashed_password: str | None) -> bool:
        """Tell, in one's turn, whether the password has this hash. Without a hash the answer is no.

        A no takes the same time whatever the hash: that of the dearest one known.
        """
        self.expect(bcrypt_cost(hashed_password or ""))
        dearest = max(2.0**self._dearest, *self._foreign.values())
        right, kind, work = await self._compute(lambda: _matches(password, hashed_password or "", dearest))
        if kind is not None:  # the least of all measurements: others were held up by other work
            self._foreign[kind] = min(work, self._foreign.get(kind, work))
        return right

    def expect(self, cost: int | None) -> None:
        """Take note that there are hashes of bcrypt at this cost, as after `BCRYPT_ROUNDS` was lowered."""
        self._dearest = max(self._dearest, cost or 0)

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
        return bcrypt_cost(hashed_password) != self._rounds and _hashable(password.encode())

    async def _compute(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _matches(password: str, hashed_password: str, dearest: float) -> tuple[bool, str | None, float]:
    """Tell whether the password has this hash; a no takes as long as `dearest` rounds of bcrypt.

    If it is a foreign hash and the answer no, its kind is told, too, and how many rounds of bcrypt it is worth.
    """
    try:
        secret = password.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can say
        return False, None, 0
    kind, work = None, 0.0
    if (foreign := foreign_hashes.read(hashed_password)) and foreign.affordable:
        right, seconds = _timed(lambda: foreign.check(secret))
        if right:
            return True, None, 0
        sample = _sample(dearest)
        rounds = 2.0**sample
        kind, work = foreign.kind, rounds * seconds / _timed(lambda: _check(b"", _nobody(sample)))[1]
        _burn(dearest - work - rounds)
    elif (cost := bcrypt_cost(hashed_password)) is not None and _hashable(secret):
        if _check(secret, hashed_password):
            return True, None, 0
        _burn(dearest - 2.0**cost)
    else:  # of nobody, or longer than what bcrypt makes a hash of
        _burn(dearest)
    return False, kind, work


def _burn(work: float) -> None:
    """Work as long as so many rounds of bcrypt take."""
    for cost in range(MAX_COST, MIN_COST - 1, -1):
        if work >= 2.0**cost:
            _check(b"", _nobody(cost))
            work -= 2.0**cost


def _sample(dearest: float) -> int:
    """Return the cost at which bcrypt shows its speed, in an eighth of the time that there is."""
    return max(MIN_COST, int(math.log2(dearest)) - 3)


def _timed(work: Callable[[], R]) -> tuple[R, float]:
    """Return what `work()` returns, and how many seconds that took."""
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def _hashable(secret: bytes) -> bool:
    """Tell whether bcrypt makes a hash of this: of more it raises, or cuts it off."""
    return len(secret) <= MAX_PASSWORD_BYTES and b"\0" not in secret


def _check(secret: bytes, hashed_password: str) -> bool:
    try:
        return bcrypt.checkpw(secret, hashed_password.encode())
    except ValueError:  # not a bcrypt hash
        return False


def _nobody(cost: int) -> str:
    """Return what looks like a hash of this cost, and which no password has."""
    return f"$2b${cost:02}${'.' * 53}"
