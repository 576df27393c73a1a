"""The database: a URL becomes an engine, and units of work run on it.

The one place that begins, commits, rolls back and runs again.
"""

import asyncio
import logging
import random
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

import aiomysql
from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy import create_engine as create_sqlalchemy_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.util import greenlet_spawn
from sqlmodel import Session

from userapi import logs
from userapi.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 4  # a statement, its wait for a lock included, on a server
UNIT_SECONDS = 8  # a unit: its wait for a connection, and all its runs, should the server fall silent
INSIST_SECONDS = 0.25  # after cancelling a run, before cancelling what it does about that
BUSY_SECONDS = 5  # waiting for SQLite's write lock, unless the URL says timeout=
RERUNS = 3  # of a unit that lost a deadlock or a serialization conflict
POOL_SIZE = 5  # connections of a process that read, and as many that write
POOL_SECONDS = 3  # waiting for one of them
POOL: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_SECONDS, "pool_use_lifo": True}
MIGRATION_SECONDS = 600  # waiting for another process to end its migration
MIGRATION_LOCK = 0x75736572  # any number, as long as nobody else uses it; "user" in ASCII

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
_POSTGRESQL_TIMEOUTS = f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={STATEMENT_SECONDS}s"
# The comments are code: the first for MariaDB, the second for MySQL.
_MYSQL_TIMEOUTS = (
    f"SET SESSION lock_wait_timeout={STATEMENT_SECONDS}, innodb_lock_wait_timeout={STATEMENT_SECONDS}"
    f" /*M!100000 , max_statement_time={STATEMENT_SECONDS} */ /*!50708 , max_execution_time={STATEMENT_SECONDS}000 */"
)
_CONFLICT_STATES = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_CONFLICT_NUMBERS = {1213, 1020}  # MySQL: deadlock; MariaDB: record has changed since last read
_EVENTS = "userapi.events"
_SQLITE_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED


class RunAgain(Exception):
    """Raised by a unit that met another's change halfway: nothing is wrong, and a fresh run will see it whole."""


class _CommitLost(Exception):
    """The connection broke during a commit: nobody knows whether it happened, so it must not run again."""


class MySQLConnection(aiomysql.Connection):  # type: ignore[misc]  # aiomysql has no types
    """A connection that knows when the server has closed it: to write then is a RuntimeError under uvloop."""

    _writer: Any = None  # else one with an unknown option complains when it is collected

    def _write_bytes(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            self.close()
            raise aiomysql.OperationalError(2006, "MySQL server has gone away")
        super()._write_bytes(data)

    async def ensure_closed(self) -> None:
        if self._writer and self._writer.transport.is_closing():
            self.close()
        await super().ensure_closed()


class Database:
    """Units of work on one database.

    A unit is a plain function `work(session, *args)`, or `work(connection, *args)` if it only reads: entities and their
    session cost a read more than the query. It takes and returns values, schemas or detached rows, never a table object
    made outside, since it may run again on a fresh session; and it waits for nothing but the database.

    On a server a unit runs in a greenlet over an async driver. On SQLite it runs right here, on the event loop: a point
    query takes about 10 us, handing it to a thread and back several hundred. What could hold the loop, waiting for
    another process's lock, is not done inside SQLite but here, between two runs.
    """

    def __init__(self, url: URL | str) -> None:
        """Prepare for `url`, as a person types it; nothing connects before the first unit."""
        self._url = driver_url(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        if self._sqlite:
            self._file = _sqlite_engine(self._url, busy_seconds=0)
            self._kept: Connection | None = None
        else:
            # Reads in autocommit save the round trips of BEGIN and ROLLBACK.
            self._reader = _server_engine(
                self._url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **POOL
            )
            self._writer = _server_engine(self._url, isolation_level="READ COMMITTED", **POOL)
        busy_seconds = float(str(self._url.query.get("timeout", BUSY_SECONDS))) if self._sqlite else 0.0
        self._turn_seconds = busy_seconds if self._sqlite else POOL_SECONDS
        self._unit_seconds = busy_seconds if self._sqlite else UNIT_SECONDS
        # First come, first served: SQLAlchemy's pool serves whoever asks at the moment when a connection comes free.
        self._reading = asyncio.Semaphore(POOL_SIZE)
        self._writing = asyncio.Semaphore(1 if self._sqlite else POOL_SIZE)

    async def read(self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit that changes nothing, in autocommit: each statement sees what is committed by then.

        On SQLite all have the same connection, until one fails: taking one from a pool costs more than the query.

        Raises: DatabaseUnavailable, when the database does not answer in time.
        """

        def on_file() -> R:
            if self._kept is None:
                self._kept = self._file.connect()
            try:
                return work(self._kept, *args, **kwargs)
            except BaseException:
                self._let_go()
                raise

        def on_server() -> R:
            with self._reader.sync_engine.connect() as connection:
                return work(connection, *args, **kwargs)

        if self._sqlite:
            return await self._mapped(self._run(on_file, time.monotonic() + self._unit_seconds))
        return await self._mapped(self._run_in_turn(self._reading, on_server))

    async def write(self, work: Callable[Concatenate[Session, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a unit and commit it; when this returns, the change is durable.

        Raises: DatabaseUnavailable, when the database does not answer in time, or when the connection broke during
        the commit, so that nobody knows whether it happened.
        """
        engine = self._file if self._sqlite else self._writer.sync_engine

        def unit() -> R:
            return self._unit(engine, lambda session: work(session, *args, **kwargs))

        return await self._mapped(self._run_in_turn(self._writing, unit))

    async def migrate(self, work: Callable[[Connection], R]) -> R:
        """Run `work` on a connection without time limits, one process at a time, and commit it.

        On SQLite all of it is one transaction, with foreign keys off: rebuilding a table must not cascade.
        """
        if self._sqlite:
            patient = self._file if sqlite_file(self._url) is None else _sqlite_engine(self._url, MIGRATION_SECONDS)
            try:
                with patient.connect() as connection:
                    return _locked_sqlite(connection, work)
            finally:
                if patient is not self._file:
                    patient.dispose()
        engine = _server_engine(self._url, limited=False, poolclass=NullPool)
        locked = _locked_postgresql if self._url.get_backend_name() == "postgresql" else _locked_mysql
        async with engine.connect() as connection:
            return await connection.run_sync(locked, work)

    async def close(self) -> None:
        """Close all connections."""
        if self._sqlite:
            self._let_go()
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
        except (OperationalError, InterfaceError, PoolTimeout, TimeoutError, _CommitLost) as error:
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
        reconnects, reruns, pause = 1, RERUNS, 0.001
        while True:
            try:
                if self._sqlite:
                    return unit()
                async with within(deadline - time.monotonic()):
                    return await greenlet_spawn(unit)  # what AsyncSession.run_sync does, for 100 us less
            except (DBAPIError, RunAgain) as error:
                if _is_busy(error) and time.monotonic() + pause < deadline:
                    pause = min(pause * 2, 0.05)
                elif _is_disconnect(error) and reconnects:
                    reconnects, pause = reconnects - 1, 0
                elif _is_conflict(error) and reruns:
                    reruns, pause = reruns - 1, random.uniform(0.005, 0.05)  # noqa: S311 - jitter is no secret
                else:
                    raise
            await asyncio.sleep(pause)

    def _unit(self, engine: Engine, work: Callable[[Session], R]) -> R:
        session = Session(engine, expire_on_commit=False)
        try:
            if self._sqlite:
                # A deferred transaction that reads and then writes fails at once when another wrote in between.
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            result = work(session)
            session.flush()
            _commit(session)
            for name, fields in session.info.get(_EVENTS, ()):
                logs.event(name, **fields)
            return result
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()


def note(session: Session, event: str, **fields: Any) -> None:
    """Have an event logged once the unit is committed, and only then."""
    session.info.setdefault(_EVENTS, []).append((event, fields))


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Cancel after so many seconds, and once more soon after: at the first, psycopg waits up to 10 s for the server.

    Raises: TimeoutError.
    """
    async with asyncio.timeout(seconds + INSIST_SECONDS), asyncio.timeout(seconds):
        yield


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        if _is_disconnect(error):
            raise _CommitLost("the connection broke during a commit") from error
        raise


def _is_disconnect(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_conflict(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return isinstance(error, RunAgain)
    number = error.orig.args[0] if error.orig and error.orig.args else None
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES or number in _CONFLICT_NUMBERS


def _is_busy(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY


def driver_url(url: URL | str) -> URL:
    """The URL with the driver this service uses in place of the one named, if any; its options are kept.

    Raises: KeyError for a database that is not served.
    """
    url = make_url(url)
    return url.set(drivername=_DRIVERS[url.get_backend_name()])


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL, or None for a database in memory."""
    name = url.database or ""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    in_memory = not name or name == ":memory:" or url.query.get("mode") == "memory"
    return None if in_memory else Path(name)


def _sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    (filename, *_), given = url.get_dialect()().create_connect_args(url)
    options = {**given, "timeout": busy_seconds, "isolation_level": None, "check_same_thread": False}

    def open_file() -> Any:
        connection = sqlite3.connect(filename, **options)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    # A unit never lets go of the loop between its statements, so one connection serves them all.
    return create_sqlalchemy_engine(url, creator=open_file, poolclass=StaticPool, hide_parameters=True)


def _server_engine(url: URL, *, limited: bool = True, **options: Any) -> AsyncEngine:
    """An engine whose statements, if they are `limited`, end in time on the server, too."""
    connect_args: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    if url.get_backend_name() == "postgresql":
        if limited:
            connect_args["options"] = f"{_POSTGRESQL_TIMEOUTS} {url.query.get('options', '')}"
    else:
        url, connect_args["ssl"] = _take_tls(url)
        connect_args["async_creator_fn"] = _connect_mysql
        if limited:
            connect_args["init_command"] = _MYSQL_TIMEOUTS
    return create_async_engine(url, connect_args=connect_args, hide_parameters=True, **options)


async def _connect_mysql(**options: Any) -> MySQLConnection:
    connection = MySQLConnection(**options)
    await connection._connect()
    return connection


def _take_tls(url: URL) -> tuple[URL, ssl.SSLContext | None]:
    """PyMySQL's `ssl_*` options of a URL as the context that aiomysql wants, and the URL without them."""
    given = {name: str(value) for name, value in url.query.items() if name.startswith("ssl")}
    url = url.difference_update_query(given)
    if not given or given.get("ssl_disabled") == "true":
        return url, None
    context = ssl.create_default_context(cafile=given.get("ssl_ca"), capath=given.get("ssl_capath"))
    context.check_hostname = given.get("ssl_check_hostname", "true") == "true"
    if not context.check_hostname and "ssl_ca" not in given and "ssl_capath" not in given:
        context.verify_mode = ssl.CERT_NONE
    if "ssl_cert" in given:
        context.load_cert_chain(given["ssl_cert"], given.get("ssl_key"))
    return url, context


def _locked_sqlite(connection: Connection, work: Callable[[Connection], R]) -> R:
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        result = work(connection)
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
            raise RuntimeError(f"the migration leaves {len(broken)} rows that refer to nothing")
        connection.commit()
        return result
    finally:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


def _locked_postgresql(connection: Connection, work: Callable[[Connection], R]) -> R:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.commit()  # or Alembic would take this for the caller's transaction and not commit its own
    try:
        return work(connection)
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()


def _locked_mysql(connection: Connection, work: Callable[[Connection], R]) -> R:
    name = "CONCAT('userapi:', MD5(DATABASE()))"
    if connection.scalar(text(f"SELECT GET_LOCK({name}, {MIGRATION_SECONDS})")) != 1:
        raise RuntimeError("another process has been migrating for ten minutes")
    connection.commit()  # as on PostgreSQL
    try:
        return work(connection)
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT RELEASE_LOCK({name})"))
        connection.commit()
