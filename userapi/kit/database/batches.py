"""Changes of an SQLite file that wait together are committed together: the disk takes as long for one as for all."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from userapi.kit.database.faults import RunAgain, is_busy
from userapi.kit.database.tries import in_turn

R = TypeVar("R")

BUSY_PAUSE = 0.001  # seconds between two looks whether another process still writes, about
COURTESY_PAUSE = 0.002  # after a commit, in which another process that waits gets its turn
SHARED_SECONDS = 1.0  # for which a file counts as shared after another process was seen to write


class Batches:
    """Units of work, one after another, each in a savepoint of a transaction that it shares with those that wait.

    Who gets its turn while no transaction is open begins one, whose commit gets in line right away: it takes in those
    who wait by then, and those who come later are in the next. The commit is done beside the event loop.
    """

    def __init__(self, engine: Engine, tally: Counter[str], *, beside: bool) -> None:
        """Take an engine whose one connection is a `UnitConnection`; commit on the loop itself unless `beside` it."""
        self._engine, self._tally = engine, tally
        self._thread = ThreadPoolExecutor(1, "commit") if beside else None
        self._turn = asyncio.Semaphore(1)  # first come, first served
        self._connections: tuple[Connection, Connection] | None = None  # for transactions, and for units
        self._open: _Batch | None = None
        self._others_seen = -SHARED_SECONDS  # when another process was last seen to write
        self._committing: set[asyncio.Task[None]] = set()

    async def run(self, unit: Callable[[Connection], R], deadline: float) -> R:
        """Run a unit in its turn; return what it returned, or raise what it raised, once its batch is committed.

        `deadline` is a time of `time.monotonic`.

        Raises:
            TimeoutError: Its turn did not come by then.
            sqlalchemy.exc.DBAPIError: Another process wrote until then; or the commit failed, with all of its units.
        """
        result, failure = None, None
        async with in_turn(self._turn, deadline - time.monotonic()):
            batch = self._open or await self._begin(deadline)
            try:
                result = unit(batch.connection)
            except Exception as error:  # noqa: BLE001 - it is raised below
                failure = error
                if not batch.is_alive:
                    self._end(batch, error)
            except BaseException:  # Ctrl-C: what the others did is rolled back as well, and they run again
                self._end(batch, RunAgain())
                raise
        await batch.over.wait()
        if failure := batch.failure or failure:
            raise failure
        return result  # type: ignore[return-value]  # without a failure it is there

    async def close(self) -> None:
        """Wait for what is being committed, and close the connection."""
        async with self._turn:
            self._let_go()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    async def _begin(self, deadline: float) -> "_Batch":
        """Begin a transaction for changes: one that reads first fails at once when another wrote in between."""
        if self._connections is None:
            self._connections = self._engine.connect(), self._engine.connect()
        batch = _Batch(*self._connections)
        while True:
            try:
                batch.execute("BEGIN IMMEDIATE")
                break
            except BaseException as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    self._let_go()
                    raise
            self._tally["busy"] += 1
            self._others_seen = time.monotonic()
            await asyncio.sleep(BUSY_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret
        self._open = batch
        task = asyncio.create_task(self._commit(batch))
        self._committing.add(task)
        task.add_done_callback(self._committing.discard)
        return batch

    async def _commit(self, batch: "_Batch") -> None:
        async with self._turn:
            if batch.over.is_set():
                return
            try:
                if self._thread is None:
                    batch.execute("COMMIT")
                else:
                    await asyncio.get_running_loop().run_in_executor(self._thread, batch.execute, "COMMIT")
            except Exception as error:  # noqa: BLE001 - each of its units raises it
                self._end(batch, error)
            else:
                self._end(batch)
            if time.monotonic() - self._others_seen < SHARED_SECONDS:
                await asyncio.sleep(COURTESY_PAUSE)  # SQLite knows no queue: who comes back at once keeps others out

    def _end(self, batch: "_Batch", failure: Exception | None = None) -> None:
        self._open, batch.failure = None, failure
        if failure is not None:
            self._let_go()
        batch.over.set()

    def _let_go(self) -> None:
        """Close the connection, and with it a transaction that is open."""
        for connection in self._connections or ():
            connection.invalidate()
            connection.close()
        self._connections = None


class _Batch:
    """A transaction, and what became of it."""

    def __init__(self, control: Connection, connection: Connection) -> None:
        self._control, self.connection = control, connection
        self.over = asyncio.Event()
        self.failure: Exception | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it is open: SQLite gives up a whole transaction when the disk is full, for instance."""
        driver: Any = self._control.connection.driver_connection
        try:
            return bool(driver.in_transaction)
        except sqlite3.ProgrammingError:  # it is closed, as by Ctrl-C in the middle of a statement
            return False

    def execute(self, statement: str) -> None:
        """Begin or end it."""
        self._control.exec_driver_sql(statement)
