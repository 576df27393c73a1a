"""One process at a time migrates a database: the lock of each kind, and what must hold while it is held."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, text

from userapi.kit.database import Database

R = TypeVar("R")

MIGRATION_SECONDS = 600  # waiting for another process to end its migration
MIGRATION_LOCK = 0x75736572  # any number, as long as nobody else uses it; "user" in ASCII


async def migrate(database: Database, work: Callable[[Connection], R]) -> R:
    """Run `work`, which changes the schema, without time limits and one process at a time, and commit it.

    Raises:
        RuntimeError: Another process has held the lock for ten minutes, or the work leaves rows that refer to nothing.
    """

    def locked(connection: Connection) -> R:
        return _LOCKED[connection.dialect.name](connection, work)

    return await database.unlimited(locked, busy_seconds=MIGRATION_SECONDS)


def _locked_sqlite(connection: Connection, work: Callable[[Connection], R]) -> R:
    """Run `work` in one transaction that locks the file, with foreign keys off: rebuilding a table must not cascade.

    Raises:
        RuntimeError: The work leaves rows that refer to nothing.
    """
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
    """Run `work`, which commits by itself, under an advisory lock of the session."""
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.commit()  # or Alembic would take this for the caller's transaction and not commit its own
    try:
        return work(connection)
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()


def _locked_mysql(connection: Connection, work: Callable[[Connection], R]) -> R:
    """Run `work`, which commits by itself, under a named lock of the database.

    Raises:
        RuntimeError: Another process has held the lock for ten minutes.
    """
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


_LOCKED = {
    "sqlite": _locked_sqlite,
    "postgresql": _locked_postgresql,
    "mysql": _locked_mysql,
    "mariadb": _locked_mysql,
}
