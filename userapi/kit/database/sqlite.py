"""SQLite: where its file is, and connections to it, whose transaction several units may share."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool

KEY_ENDING = ".secret_key"  # of the name of the file beside a database that holds its secret key


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite URL, or None for a database in memory."""
    name = url.database or ""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    in_memory = not name or name == ":memory:" or url.query.get("mode") == "memory"
    return None if in_memory else Path(name)


def sqlite_files(url: URL) -> list[Path]:
    """Return the files that there may be of an SQLite database: its own, those of SQLite beside it, its secret key."""
    file = sqlite_file(url) if url.get_backend_name() == "sqlite" else None
    return [file.with_name(file.name + end) for end in ("", "-wal", "-shm", "-journal", KEY_ENDING)] if file else []


class UnitConnection(sqlite3.Connection):
    """A connection whose transaction belongs to several units, each of which commits and rolls back its own part."""

    in_unit = False

    def begin_unit(self) -> None:
        """Begin a unit, in a savepoint of the transaction that there must be: else the unit would commit by itself."""
        if not self.in_transaction:
            raise sqlite3.OperationalError("there is no transaction for a unit")
        self.execute("SAVEPOINT unit")
        self.in_unit = True

    def commit(self) -> None:
        """Keep what the unit has done, as part of the transaction; without a unit, commit that."""
        if not self.in_unit:
            return super().commit()
        self.execute("RELEASE unit")
        self.in_unit = False
        return None

    def rollback(self) -> None:
        """Undo what the unit has done, and nothing else; without a unit, roll the transaction back."""
        if not self.in_unit:
            return super().rollback()
        self.in_unit = False
        if self.in_transaction:
            self.execute("ROLLBACK TO unit")
            self.execute("RELEASE unit")
        return None


def sqlite_engine(url: URL, busy_seconds: float, *, read_only: bool = False) -> Engine:
    """Return an engine with one connection, which waits inside SQLite for at most `busy_seconds`.

    A unit never lets go of the event loop between its statements, so one connection serves them all. One that is
    `read_only` refuses to write.
    """
    (filename, *_), given = url.get_dialect()().create_connect_args(url)
    options = {**given, "timeout": busy_seconds, "isolation_level": None, "check_same_thread": False}

    def open_file() -> Any:
        _make_private(url)
        connection = sqlite3.connect(filename, factory=UnitConnection, **options)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA query_only={read_only:d}")
        return connection

    pool: dict[str, Any] = {"poolclass": StaticPool, "pool_reset_on_return": None}  # it would end others' transaction
    return create_engine(url, creator=open_file, hide_parameters=True, **pool)


def begin_unit(connection: Connection) -> None:
    """Begin a unit on a connection of SQLite, in the transaction that it has."""
    driver: Any = connection.connection.driver_connection
    driver.begin_unit()


def _make_private(url: URL) -> None:
    """Make the file of a database for its owner only, if there is none yet: SQLite gives `-wal` and `-shm` its mode."""
    file = sqlite_file(url)
    if file is not None and url.query.get("mode", "rwc") == "rwc":
        with suppress(OSError):  # it is there, or SQLite will say what is wrong
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
