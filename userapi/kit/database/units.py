"""Units of work: the one place that begins, commits, rolls back and runs again."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn
from sqlmodel import Session

from userapi.errors import DatabaseUnavailable
from userapi.kit.announcements import Announcements
from userapi.kit.database.engines import (
    POOL_SECONDS,
    POOL_SIZE,
    driver_url,
    limit_transaction,
    reader_engine,
    server_engine,
    sqlite_engine,
    sqlite_file,
    writer_engine,
)
from userapi.kit.database.faults import (
    AskAfterRollback,
    CommitLost,
    ForeignRow,
    RunAgain,
    commit,
    is_misdirected,
    is_unavailable,
)
from userapi.kit.database.sqlite_reads import SqliteReads, TooLongError
from userapi.kit.database.tries import Tries, within

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

UNIT_SECONDS = 8  # a unit: its wait for a connection, and all its runs, should the server fall silent
BUSY_SECONDS = 5  # waiting for SQLite's write lock, unless the URL says timeout=
LONG_READS = 2  # at a time, which leaves others the rest of `POOL_SIZE`; 1 on SQLite


class Database:
    """Units of work on one database.

    A unit is a plain function `work(db, *args)`, or `work(connection, *args)` if it only reads: entities and their
    session cost a read more than the query. It takes and returns values, schemas or detached rows, never a table object
    made outside, since it may run again on a fresh session; and it waits for nothing but the database.

    On a server a unit runs in a greenlet over an async driver. On SQLite it runs right here, on the event loop: a point
    query takes about 10 us, handing it to a thread and back several hundred. What could hold the loop, waiting for
    another process's lock, is not done inside SQLite but here, between two runs; and a read that turns out to be long
    is done again on a thread.
    """

    def __init__(self, url: URL | str, announcements: Announcements | None = None) -> None:
        """Prepare for `url`, as a person types it; nothing connects before the first unit."""
        self._url = driver_url(url)
        self._announcements = announcements or Announcements()
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if self._sqlite:
            busy_seconds = float(str(self._url.query.get("timeout", BUSY_SECONDS)))
            self._file = sqlite_engine(self._url, busy_seconds=0)
            self._aside = sqlite_engine(self._url, busy_seconds, read_only=True) if sqlite_file(self._url) else None
            self._file_reads = SqliteReads(self._file, self._aside)
        else:
            self._reader, self._writer = reader_engine(self._url), writer_engine(self._url)
        # How often units ran, by kind; and again, by what befell the run before; and were given up.
        self.tally: Counter[str] = Counter()
        self._turn_seconds = busy_seconds if self._sqlite else POOL_SECONDS
        self._unit_seconds = busy_seconds if self._sqlite else UNIT_SECONDS
        # First come, first served: SQLAlchemy's pool serves whoever asks at the moment when a connection comes free.
        self._reading = asyncio.Semaphore(POOL_SIZE)
        self._reading_long = asyncio.Semaphore(1 if self._sqlite else LONG_READS)
        self._writing = asyncio.Semaphore(1 if self._sqlite else POOL_SIZE)

    async def read(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit that changes nothing, in autocommit: each statement sees what is committed by then.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        self.tally["read"] += 1
        return await self._mapped(self._read(lambda connection: work(connection, *args, **kwargs)))

    async def read_long(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit as `read` does, one that may go through many rows: few at a time, so that others go on.

        On SQLite it runs on a thread from the beginning.

        Raises:
            DatabaseUnavailable: The database does not answer in time, or too many others wait for it.
        """
        self.tally["read"] += 1
        return await self._mapped(self._read_long(lambda connection: work(connection, *args, **kwargs)))

    async def write(self, work: Callable[Concatenate[Session, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit and commit it; when this returns, the change is durable.

        Raises:
            DatabaseUnavailable: The database does not answer in time, or the connection broke during the commit, so
                that nobody knows whether it happened.
        """
        engine = self._file if self._sqlite else self._writer.sync_engine

        def unit() -> R:
            return self._unit(engine, lambda db: work(db, *args, **kwargs))

        self.tally["write"] += 1
        return await self._mapped(self._run_in_turn(self._writing, unit))

    async def unlimited(self, work: Callable[[Connection], R], *, busy_seconds: float) -> R:
        """Run `work` on a connection of its own without time limits; it commits by itself.

        `busy_seconds` bound its wait for SQLite's write lock, in which nothing else is served.
        """
        if self._sqlite:
            patient = self._file if sqlite_file(self._url) is None else sqlite_engine(self._url, busy_seconds)
            try:
                with patient.connect() as connection:
                    return work(connection)
            finally:
                if patient is not self._file:
                    patient.dispose()
        engine = server_engine(self._url, limited=False, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    @property
    def engines(self) -> dict[str, Engine]:
        """Return the engines, by the kind of units that run on them."""
        if self._sqlite:
            return {"any": self._file, **({"long": self._aside} if self._aside else {})}
        return {"read": self._reader.sync_engine, "write": self._writer.sync_engine}

    async def close(self) -> None:
        """Close all connections."""
        if self._sqlite:
            self._file_reads.close()
            for engine in self.engines.values():
                engine.dispose()
        else:
            await self._reader.dispose()
            await self._writer.dispose()

    async def _read(self, unit: Callable[[Connection], R]) -> R:
        if not self._sqlite:
            return await self._run_in_turn(self._reading, lambda: self._read_server(unit))
        try:
            return await self._run(lambda: self._file_reads.on_loop(unit), time.monotonic() + self._unit_seconds)
        except TooLongError:
            self.tally["long"] += 1
            return await self._read_long(unit)

    async def _read_long(self, unit: Callable[[Connection], R]) -> R:
        async with within(UNIT_SECONDS):
            async with asyncio.timeout(self._turn_seconds):
                await self._reading_long.acquire()
            try:
                return await (self._file_reads.on_thread(unit) if self._sqlite else self._read(unit))
            finally:
                self._reading_long.release()

    def _read_server(self, unit: Callable[[Connection], R]) -> R:
        with self._reader.sync_engine.connect() as connection:
            try:
                return unit(connection)
            except ForeignRow:
                connection.invalidate()
                raise

    async def _mapped(self, run: Awaitable[R]) -> R:
        try:
            return await run
        except ForeignRow as error:
            self._announcements.tell(error.event)
            raise DatabaseUnavailable from error
        except (DBAPIError, PoolTimeout, TimeoutError, CommitLost, RunAgain) as error:
            if isinstance(error, DBAPIError) and not is_unavailable(error):
                raise
            self.tally["unavailable"] += 1
            log.error("database unavailable: %s", str(error).partition("\n")[0] or type(error).__name__)
            raise DatabaseUnavailable from error

    async def _run_in_turn(self, turns: asyncio.Semaphore, unit: Callable[[], R]) -> R:
        deadline = time.monotonic() + self._unit_seconds
        if turns.locked():
            async with asyncio.timeout(self._turn_seconds):
                await turns.acquire()
        else:
            await turns.acquire()
        try:
            return await self._run(unit, deadline)
        finally:
            turns.release()

    async def _run(self, unit: Callable[[], R], deadline: float) -> R:
        tries = Tries(deadline, self.tally)
        while True:
            try:
                if self._sqlite:
                    return unit()
                async with within(deadline - time.monotonic()):
                    return await greenlet_spawn(unit)  # what AsyncSession.run_sync does, for 100 us less
            except (DBAPIError, RunAgain) as error:
                pause = tries.pause_after(error)
                if pause is None:
                    raise
                if is_misdirected(error):
                    await self._reader.dispose()  # what it reads there may be old
            await asyncio.sleep(pause)

    def _unit(self, engine: Engine, work: Callable[[Session], R]) -> R:
        db = Session(engine, expire_on_commit=False)
        announced = self._announcements.attach(db)
        try:
            self._begin(db)
            result = work(db)
            db.flush()
            commit(db)
        except AskAfterRollback as failed:
            db.rollback()
            self._begin(db)
            failed.ask(db)
            raise RunAgain from failed
        except ForeignRow:
            db.invalidate()
            raise
        finally:
            db.rollback()  # has no effect after a commit
            db.close()
        for announcement in announced:
            self._announcements.tell(announcement)
        return result

    def _begin(self, db: Session) -> None:
        if self._sqlite:
            # A deferred transaction that reads and then writes fails at once when another wrote in between.
            db.connection().exec_driver_sql("BEGIN IMMEDIATE")
        else:
            limit_transaction(db.connection())
