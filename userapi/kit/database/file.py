"""Where units of work run on SQLite: here, but for what takes long."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine

from userapi.kit.database.batches import Batches
from userapi.kit.database.reads import Reads, TooLongError
from userapi.kit.database.sqlite import begin_unit, sqlite_engine, sqlite_file
from userapi.kit.database.tries import Tries

R = TypeVar("R")

BUSY_SECONDS = 5  # waiting for SQLite's write lock, unless the URL says timeout=


class File:
    """A file, by three connections: one that writes, one that reads, and one that reads on a thread.

    A database in memory is that of one connection, so there all is done by this.
    """

    def __init__(self, url: URL, tally: Counter[str]) -> None:
        """Prepare for the URL of a file; nothing is opened before the first unit."""
        self._tally = tally
        self._seconds = float(str(url.query.get("timeout", BUSY_SECONDS)))
        writer = sqlite_engine(url, busy_seconds=0)
        self.engines: dict[str, Engine] = {"write": writer, "read": writer}  # by the kind of units that run on them
        on_disk = sqlite_file(url) is not None
        if on_disk:
            self.engines["read"] = sqlite_engine(url, busy_seconds=0, read_only=True)
            self.engines["long"] = sqlite_engine(url, self._seconds, read_only=True)
        self._reads = Reads(self.engines["read"], self.engines.get("long"), self._seconds)
        self._batches = Batches(writer, tally, beside=on_disk)

    async def read(self, unit: Callable[[Connection], R]) -> R:
        """Run a unit that reads, in autocommit; if it takes too long for the event loop, again on the thread."""

        async def run() -> R:
            return self._reads.on_loop(unit)

        try:
            return await Tries(self._deadline, self._tally).run(run)
        except TooLongError:
            self._tally["long"] += 1
            return await self.read_long(unit)

    async def read_long(self, unit: Callable[[Connection], R]) -> R:
        """Run a unit that reads much, on the thread."""
        return await self._reads.on_thread(unit)

    async def write(self, unit: Callable[[Connection], R]) -> R:
        """Run a unit, and commit it with those that wait."""
        deadline = self._deadline
        return await Tries(deadline, self._tally).run(lambda: self._batches.run(unit, deadline))

    def begin(self, connection: Connection) -> None:
        """Begin a unit's part of a transaction."""
        begin_unit(connection)

    async def close(self) -> None:
        """Close all connections."""
        self._reads.close()
        await self._batches.close()
        for engine in self.engines.values():
            engine.dispose()

    @property
    def _deadline(self) -> float:
        return time.monotonic() + self._seconds
