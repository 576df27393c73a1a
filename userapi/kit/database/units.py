"""Units of work: the one place that begins, commits, rolls back and runs again."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn
from sqlmodel import Session

from userapi.errors import DatabaseUnavailable
from userapi.kit.announcements import Announcement, Announcements
from userapi.kit.database.batches import Batches, in_turn
from userapi.kit.database.engines import (
    POOL_SECONDS,
    POOL_SIZE,
    driver_url,
    limit_transaction,
    reader_engine,
    server_engine,
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
from userapi.kit.database.sqlite import begin_unit, sqlite_engine, sqlite_file
from userapi.kit.database.tries import Tries

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

UNIT_SECONDS = 8  # a unit: its wait for a connection, and all its runs, should the server fall silent
INSIST_SECONDS = 0.25  # after cancelling a run, before cancelling what it does about that
BUSY_SECONDS = 5  # waiting for SQLite's write lock, unless the URL says timeout=


class Database:
    """Units of work on one database.

    A unit is a plain function `work(db, *args)`, or `work(connection, *args)` if it only reads: entities and their
    session cost a read more than the query. It takes and returns values, schemas or detached rows, never a table object
    made outside, since it may run again on a fresh session; and it waits for nothing but the database.

    On a server a unit runs in a greenlet over an async driver. On SQLite it runs right here, on the event loop: a point
    query takes about 10 us, handing it to a thread and back several hundred. What could hold the loop is not done
    there: it waits for another process's lock between two runs, and for the disk on a thread.
    """

    def __init__(self, url: URL | str, announcements: Announcements | None = None) -> None:
        """Prepare for `url`, as a person types it; nothing connects before the first unit."""
        self._url = driver_url(url)
        self._announcements = announcements or Announcements()
        self._sqlite = self._url.get_backend_name() == "sqlite"
        # How often units ran, by kind; and again, by what befell the run before; and were given up.
        self.tally: Counter[str] = Counter()
        if self._sqlite:
            self._busy_seconds = float(str(self._url.query.get("timeout", BUSY_SECONDS)))
            on_disk = sqlite_file(self._url) is not None  # a database in memory is its connection's own
            self._file = sqlite_engine(self._url, busy_seconds=0)
            self._read_file = sqlite_engine(self._url, busy_seconds=0, read_only=True) if on_disk else self._file
            self._kept: Connection | None = None
            self._batches = Batches(self._file, self.tally, beside=on_disk)
        else:
            self._reader, self._writer = reader_engine(self._url), writer_engine(self._url)
        # First come, first served: SQLAlchemy's pool serves whoever asks at the moment when a connection comes free.
        self._reading, self._writing = asyncio.Semaphore(POOL_SIZE), asyncio.Semaphore(POOL_SIZE)

    async def read(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit that changes nothing, in autocommit: each statement sees what is committed by then.

        On SQLite all have the same connection, until one fails: taking one from a pool costs more than the query.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """

        async def on_file() -> R:
            if self._kept is None:
                self._kept = self._read_file.connect()
            try:
                return work(self._kept, *args, **kwargs)
            except BaseException:
                self._let_go()
                raise

        def on_server() -> R:
            with self._reader.sync_engine.connect() as connection:
                try:
                    return work(connection, *args, **kwargs)
                except ForeignRow:
                    connection.invalidate()
                    raise

        self.tally["read"] += 1
        if self._sqlite:
            return await self._mapped(self._again(on_file, time.monotonic() + self._busy_seconds))
        return await self._mapped(self._on_server(self._reading, on_server))

    async def write(self, work: Callable[Concatenate[Session, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit and commit it; when this returns, the change is durable.

        Raises:
            DatabaseUnavailable: The database does not answer in time, or the connection broke during the commit, so
                that nobody knows whether it happened.
        """

        def unit(bind: Engine | Connection) -> tuple[R, list[Announcement]]:
            return self._unit(bind, lambda db: work(db, *args, **kwargs))

        self.tally["write"] += 1
        if self._sqlite:
            deadline = time.monotonic() + self._busy_seconds
            written = self._again(lambda: self._batches.run(unit, deadline), deadline)
        else:
            written = self._on_server(self._writing, lambda: unit(self._writer.sync_engine))
        result, announced = await self._mapped(written)
        for announcement in announced:
            self._announcements.tell(announcement)
        return result

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
    def is_local(self) -> bool:
        """Whether units run in this process alone, on SQLite."""
        return self._sqlite

    @property
    def engines(self) -> dict[str, Engine]:
        """Return the engines, by the kind of units that run on them."""
        if self._sqlite:
            return {"read": self._read_file, "write": self._file}
        return {"read": self._reader.sync_engine, "write": self._writer.sync_engine}

    async def close(self) -> None:
        """Close all connections."""
        if self._sqlite:
            self._let_go()
            await self._batches.close()
            self._read_file.dispose()
            self._file.dispose()
        else:
            await self._reader.dispose()
            await self._writer.dispose()

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

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

    async def _again(self, run: Callable[[], Awaitable[R]], deadline: float) -> R:
        """Run, and again if that may help, but not beyond `deadline`."""
        tries = Tries(deadline, self.tally)
        while True:
            try:
                return await run()
            except (DBAPIError, RunAgain) as error:
                pause = tries.pause_after(error)
                if pause is None:
                    raise
                if is_misdirected(error):
                    await self._reader.dispose()  # what it reads there may be old
            await asyncio.sleep(pause)

    async def _on_server(self, turns: asyncio.Semaphore, unit: Callable[[], R]) -> R:
        deadline = time.monotonic() + UNIT_SECONDS

        async def run() -> R:
            async with within(deadline - time.monotonic()):
                return await greenlet_spawn(unit)  # what AsyncSession.run_sync does, for 100 us less

        async with in_turn(turns, POOL_SECONDS):
            return await self._again(run, deadline)

    def _unit(self, bind: Engine | Connection, work: Callable[[Session], R]) -> tuple[R, list[Announcement]]:
        db = Session(bind, expire_on_commit=False)
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
            if not self._sqlite:
                db.invalidate()
            raise
        finally:
            db.rollback()  # has no effect after a commit
            db.close()
        return result, announced

    def _begin(self, db: Session) -> None:
        if self._sqlite:
            begin_unit(db.connection())
        else:
            limit_transaction(db.connection())


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cancel after so many seconds, and once more soon after: at the first, psycopg waits up to 10 s for the server.

    Raises:
        TimeoutError: The time is over.
    """
    async with asyncio.timeout(seconds + INSIST_SECONDS), asyncio.timeout(seconds):
        yield
