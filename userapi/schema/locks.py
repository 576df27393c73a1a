"""One process at a time migrates a database: the lock of each kind, and what must hold while it is held."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from userapi.kit.database import Database

R = TypeVar("R")

MIGRATION_SECONDS = 600  # waiting for another process to end its migration
MIGRATION_LOCK = 0x75736572  # any number, as long as nobody else uses it; "user" in ASCII

_TOO_LONG = "another process has been migrating for ten minutes"
_VERSION_TABLE = (  # as Alembic makes it
    "CREATE TABLE IF NOT EXISTS alembic_version"
    " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


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
    """Run `work` in one transaction under an advisory lock that ends with it.

    One of the session would stay with another's connection behind a pooler of transactions. Each statement sees what is
    committed by then, whatever the server's default: else it would be what was so before the wait for the lock.
    """
    connection.execution_options(isolation_level="READ COMMITTED")
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    result = work(connection)  # Alembic takes this for the caller's transaction, and leaves the commit to it
    connection.commit()
    return result


def _locked_mysql(connection: Connection, work: Callable[[Connection], R]) -> R:
    """Run `work`, which commits by itself, under a named lock of the database; on a Galera cluster, of all nodes.

    Raises:
        RuntimeError: Another process has held the lock for ten minutes.
    """
    name = "CONCAT('userapi:', MD5(DATABASE()))"
    if connection.scalar(text(f"SELECT GET_LOCK({name}, {MIGRATION_SECONDS})")) != 1:
        raise RuntimeError(_TOO_LONG)
    connection.commit()  # or Alembic would take this for the caller's transaction and not commit its own
    try:
        with _cluster_locked(connection):
            return work(connection)
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT RELEASE_LOCK({name})"))
        connection.commit()


@contextmanager
def _cluster_locked(connection: Connection) -> Iterator[None]:
    """Hold a lock of all nodes of a Galera cluster, where named locks are a node's own; elsewhere do nothing.

    It is a row that is never committed. With a fragment of one row, Galera replicates and certifies it at once; it goes
    when the transaction is rolled back, when the connection ends, or when the node leaves the cluster.
    """
    clustered = connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).first()
    connection.commit()
    if clustered is None or clustered[1] != "ON":
        yield
        return
    connection.execute(text(_VERSION_TABLE))
    connection.commit()
    with connection.engine.connect() as holder:
        holder.exec_driver_sql("SET SESSION wsrep_trx_fragment_unit = 'rows', wsrep_trx_fragment_size = 1")
        holder.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 5")
        deadline = time.monotonic() + MIGRATION_SECONDS
        while True:
            try:
                holder.execute(text("INSERT INTO alembic_version VALUES ('migrating')"))
                break
            except OperationalError as error:  # another node holds it, or came first
                holder.rollback()
                if time.monotonic() > deadline:
                    raise RuntimeError(_TOO_LONG) from error
                connection.execute(text("SELECT SLEEP(0.1)"))
                connection.rollback()
        try:
            yield
        finally:
            holder.rollback()


_LOCKED = {
    "sqlite": _locked_sqlite,
    "postgresql": _locked_postgresql,
    "mysql": _locked_mysql,
    "mariadb": _locked_mysql,
}
