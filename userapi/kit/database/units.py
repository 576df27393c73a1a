"""Units of work: the one place that begins, commits, rolls back and runs again."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool
from sqlmodel import Session

from userapi.errors import DatabaseUnavailable
from userapi.kit.announcements import Announcement, Announcements
from userapi.kit.database.engines import driver_url, server_engine
from userapi.kit.database.faults import AskAfterRollback, CommitLost, ForeignRow, RunAgain, commit, is_unavailable
from userapi.kit.database.file import File
from userapi.kit.database.server import Server
from userapi.kit.database.shared import SharedReads
from userapi.kit.database.sqlite import sqlite_engine, sqlite_file

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """Units of work on one database.

    A unit is a plain function `work(db, *args)`, or `work(connection, *args)` if it only reads: entities and their
    session cost a read more than the query. It takes and returns values, schemas or detached rows, never a table object
    made outside, since it may run again on a fresh session; and it waits for nothing but the database.

    On a server a unit runs in a greenlet over an async driver. On SQLite it runs right here, on the event loop: a point
    query takes about 10 us, handing it to a thread and back several hundred. What could hold the loop is not done
    there: it waits for another process's lock between two runs and for the disk on a thread, and a read that turns out
    to be long is done again on one.
    """

    def __init__(self, url: URL | str, announcements: Announcements | None = None) -> None:
        """Prepare for `url`, as a person types it; nothing connects before the first unit."""
        self._url = driver_url(url)
        self._announcements = announcements or Announcements()
        # How often units ran, by kind; and again, by what befell the run before; and were given up.
        self.tally: Counter[str] = Counter()
        self.is_local = self._url.get_backend_name() == "sqlite"  # whether units run in this process alone
        self._shared = SharedReads()
        self._place: File | Server = (File if self.is_local else Server)(self._url, self.tally)

    async def read(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit that changes nothing, in autocommit: each statement sees what is committed by then.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        self.tally["read"] += 1
        return await self._mapped(self._place.read(lambda connection: work(connection, *args, **kwargs)))

    async def read_shared(
        self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a unit as `read` does, one that many ask for at the same moment with the same arguments, all hashable.

        On a server those who wait for a connection then share one run, and so the values that it returns.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        if self.is_local:
            return await self.read(work, *args, **kwargs)
        asked = (work, args, *kwargs.items())
        return await self._shared.run(asked, self.read, lambda connection: work(connection, *args, **kwargs))

    async def read_long(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit as `read` does, one that may go through many rows: few at a time, so that others go on.

        On SQLite it runs on a thread from the beginning.

        Raises:
            DatabaseUnavailable: The database does not answer in time, or too many others wait for it.
        """
        self.tally["read"] += 1
        return await self._mapped(self._place.read_long(lambda connection: work(connection, *args, **kwargs)))

    async def write(self, work: Callable[Concatenate[Session, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit and commit it; when this returns, the change is durable.

        Raises:
            DatabaseUnavailable: The database does not answer in time, or the connection broke during the commit, so
                that nobody knows whether it happened.
        """

        def unit(bind: Engine | Connection) -> tuple[R, list[Announcement]]:
            return self._unit(bind, lambda db: work(db, *args, **kwargs))

        self.tally["write"] += 1
        result, announced = await self._mapped(self._place.write(unit))
        for announcement in announced:
            self._announcements.tell(announcement)
        return result

    async def unlimited(self, work: Callable[[Connection], R], *, busy_seconds: float) -> R:
        """Run `work` on a connection of its own without time limits; it commits by itself.

        `busy_seconds` bound its wait for SQLite's write lock, in which nothing else is served.
        """
        if self.is_local:
            in_memory = sqlite_file(self._url) is None
            patient = self.engines["write"] if in_memory else sqlite_engine(self._url, busy_seconds)
            try:
                with patient.connect() as connection:
                    return work(connection)
            finally:
                if not in_memory:
                    patient.dispose()
        engine = server_engine(self._url, limited=False, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    @property
    def engines(self) -> dict[str, Engine]:
        """Return the engines, by the kind of units that run on them."""
        return self._place.engines

    async def close(self) -> None:
        """Close all connections."""
        await self._place.close()

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

    def _unit(self, bind: Engine | Connection, work: Callable[[Session], R]) -> tuple[R, list[Announcement]]:
        db = Session(bind, expire_on_commit=False)
        announced = self._announcements.attach(db)
        try:
            self._place.begin(db.connection())
            result = work(db)
            db.flush()
            commit(db)
        except AskAfterRollback as failed:
            db.rollback()
            self._place.begin(db.connection())
            failed.ask(db)
            raise RunAgain from failed
        except ForeignRow:
            if not self.is_local:
                db.invalidate()
            raise
        finally:
            db.rollback()  # has no effect after a commit
            db.close()
        return result, announced
