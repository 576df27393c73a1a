"""Where units of work run on a server: in greenlets, each in its turn for a connection."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import greenlet_spawn

from userapi.kit.database.engines import POOL_SECONDS, POOL_SIZE, limit_transaction, reader_engine, writer_engine
from userapi.kit.database.faults import ForeignRow, is_misdirected
from userapi.kit.database.tries import Tries, in_turn, within

R = TypeVar("R")

UNIT_SECONDS = 8  # a unit: its wait for a connection, and all its runs, should the server fall silent
LONG_READS = 2  # at a time, which leaves others the rest of `POOL_SIZE`


class Server:
    """A server, by connections of this process that read, and as many that write."""

    def __init__(self, url: URL, tally: Counter[str]) -> None:
        """Prepare for the URL of a server; nothing connects before the first unit."""
        self._tally = tally
        self._reader, self._writer = reader_engine(url), writer_engine(url)
        # First come, first served: SQLAlchemy's pool serves whoever asks at the moment when a connection comes free.
        self._reading, self._writing = asyncio.Semaphore(POOL_SIZE), asyncio.Semaphore(POOL_SIZE)
        self._reading_long = asyncio.Semaphore(LONG_READS)

    async def read(self, unit: Callable[[Connection], R]) -> R:
        """Run a unit that reads, in autocommit."""

        def run() -> R:
            with self._reader.sync_engine.connect() as connection:
                try:
                    return unit(connection)
                except ForeignRow:
                    connection.invalidate()
                    raise

        return await self._run(self._reading, run)

    async def read_long(self, unit: Callable[[Connection], R]) -> R:
        """Run a unit that reads much, of which there are few at a time."""
        async with within(UNIT_SECONDS), in_turn(self._reading_long, POOL_SECONDS):
            return await self.read(unit)

    async def write(self, unit: Callable[[Engine], R]) -> R:
        """Run a unit that begins and commits."""
        return await self._run(self._writing, lambda: unit(self._writer.sync_engine))

    def begin(self, connection: Connection) -> None:
        """Give a transaction its time limits."""
        limit_transaction(connection)

    @property
    def engines(self) -> dict[str, Engine]:
        """Return the engines, by the kind of units that run on them."""
        return {"read": self._reader.sync_engine, "write": self._writer.sync_engine}

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    async def _run(self, turns: asyncio.Semaphore, unit: Callable[[], R]) -> R:
        deadline = time.monotonic() + UNIT_SECONDS

        async def run() -> R:
            try:
                async with within(deadline - time.monotonic()):
                    return await greenlet_spawn(unit)  # what AsyncSession.run_sync does, for 100 us less
            except DBAPIError as error:
                if is_misdirected(error):
                    await self._reader.dispose()  # what it reads there may be old
                raise

        async with in_turn(turns, POOL_SECONDS):
            return await Tries(deadline, self._tally).run(run)
