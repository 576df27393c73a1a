"""Reads of SQLite: on the event loop for as long as nobody else notices, and beyond that on a thread."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from userapi.kit.database.faults import is_interrupted
from userapi.kit.database.tries import in_turn, within

R = TypeVar("R")

LONG_SECONDS = 8  # for a read on the thread, with its wait for it
LOOP_SECONDS = 0.01  # that a read may hold the event loop for
INSTRUCTIONS = 10_000  # of SQLite between two looks at the clock: 0.1 ms, or some ms where pages come from the disk


class TooLongError(TimeoutError):
    """A read was interrupted, for its time was over."""


class Reader:
    """A connection that reads, kept until something fails on it: taking one from a pool costs more than a query."""

    def __init__(self, engine: Engine) -> None:
        """Prepare; nothing connects before the first read."""
        self._engine = engine
        self._kept: Connection | None = None
        self._end = math.inf

    def read(self, work: Callable[[Connection], R], end: float = math.inf) -> R:
        """Return what `work` reads until `end`, a time of `time.monotonic`.

        Raises:
            TooLongError: It would take longer, or was stopped.
        """
        if self._kept is None:
            self._kept = self._engine.connect()
            raw: Any = self._kept.connection.dbapi_connection
            raw.set_progress_handler(self._is_over, INSTRUCTIONS)
        self._end = end
        try:
            return work(self._kept)
        except BaseException as error:
            self.let_go()
            if is_interrupted(error):
                raise TooLongError("a read took too long") from error
            raise
        finally:
            self._end = math.inf  # in memory, what writes has the same connection

    def stop(self) -> None:
        """Interrupt what another thread reads at this moment."""
        self._end = -math.inf

    def let_go(self) -> None:
        """Give the connection back to the engine."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _is_over(self) -> bool:
        return time.monotonic() > self._end


class Reads:
    """The reads of one file: those on the event loop, and those on a thread with a connection of its own."""

    def __init__(self, file: Engine, aside: Engine | None, turn_seconds: float) -> None:
        """Prepare for two engines on the file; without the second, as in memory, all is read on the loop.

        `turn_seconds` is how long a read waits for the thread.
        """
        self._turn, self._turn_seconds = asyncio.Semaphore(1), turn_seconds
        self._here = Reader(file)
        self._there = Reader(aside) if aside else None
        self._thread = ThreadPoolExecutor(1, "sqlite")  # started when it is needed

    def on_loop(self, work: Callable[[Connection], R]) -> R:
        """Return what `work` reads, here and now.

        Raises:
            TooLongError: It takes longer than the event loop may be held.
        """
        return self._here.read(work, time.monotonic() + LOOP_SECONDS if self._there else math.inf)

    async def on_thread(self, work: Callable[[Connection], R]) -> R:
        """Return what `work` reads; other things are done meanwhile. Cancelled, it ends at once.

        Raises:
            TimeoutError: It waits for the thread, or reads, for too long.
        """
        there = self._there
        if there is None:
            return self._here.read(work)

        def read() -> R:
            try:
                return there.read(work, time.monotonic() + LONG_SECONDS)
            finally:
                there.let_go()

        async with within(LONG_SECONDS), in_turn(self._turn, self._turn_seconds):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, read)
            except asyncio.CancelledError:
                there.stop()
                raise

    def close(self) -> None:
        """Interrupt what is read, and let go of everything."""
        if self._there:
            self._there.stop()
        self._thread.shutdown()
        self._here.let_go()
