"""How long a unit of work may run, and whether one that failed runs again, and when."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from userapi.kit.database.faults import RunAgain, is_busy, is_conflict, is_disconnect

R = TypeVar("R")

INSIST_SECONDS = 0.25  # after cancelling a run, before cancelling what it does about that
RERUNS = 8  # of a unit that lost against another; on a cluster, where locks are a node's own, 3 were too few
RECONNECTS = 1
BUSY_PAUSE, LONGEST_BUSY_PAUSE = 0.002, 0.05  # seconds; doubled by each
PAUSE, LONGEST_PAUSE = 0.02, 1.0  # at most, and at least a quarter of it; doubled by each


class Tries:
    """What a unit has left of second runs."""

    def __init__(self, deadline: float, tally: Counter[str]) -> None:
        """Begin with all; none begins after `deadline`, a time of `time.monotonic`. `tally` counts them by cause."""
        self._deadline, self._tally = deadline, tally
        self._reconnects, self._reruns = RECONNECTS, RERUNS
        self._busy_pause, self._pause = BUSY_PAUSE, PAUSE

    async def run(self, attempt: Callable[[], Awaitable[R]]) -> R:
        """Run, and again as long as that may help.

        Raises:
            Exception: What the last run raised.
        """
        while True:
            try:
                return await attempt()
            except (DBAPIError, RunAgain) as error:
                pause = self._pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    def _pause_after(self, error: Exception) -> float | None:
        """Return the seconds to wait before the unit runs again; None if it must not."""
        if is_busy(error) and time.monotonic() + self._busy_pause < self._deadline:
            self._tally["busy"] += 1
            pause, self._busy_pause = self._busy_pause, min(self._busy_pause * 2, LONGEST_BUSY_PAUSE)
            return pause
        if is_disconnect(error) and self._reconnects:
            self._tally["disconnect"] += 1
            self._reconnects -= 1
            return 0
        if is_conflict(error) and self._reruns:
            self._tally["conflict"] += 1
            self._reruns -= 1
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
            return random.uniform(pause / 4, pause)  # noqa: S311 - jitter is no secret
        return None


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cancel after so many seconds, and once more soon after: at the first, psycopg waits up to 10 s for the server.

    Raises:
        TimeoutError: The time is over.
    """
    async with asyncio.timeout(seconds + INSIST_SECONDS), asyncio.timeout(seconds):
        yield


@asynccontextmanager
async def in_turn(turns: asyncio.Semaphore, seconds: float) -> AsyncIterator[None]:
    """Wait for a turn, have it, and give it back.

    Raises:
        TimeoutError: It did not come in so many seconds.
    """
    if turns.locked():
        async with asyncio.timeout(seconds):
            await turns.acquire()
    else:
        await turns.acquire()
    try:
        yield
    finally:
        turns.release()
