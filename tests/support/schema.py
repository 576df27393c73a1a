"""The schema and its first row, made past the service."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import bcrypt
import sqlalchemy as sa

from tests.support.databases import new_database, sync_engine
from tests.support.insides import Database, Timestamp, locks, migrations, now
from tests.support.people import ADMIN_PASSWORD


def migrate(url: str) -> None:
    """Make the schema in an empty database, as `python -m userapi migrate` does, without a process of its own.

    On SQLite and MySQL, which takes a second or two for them, the migrations run once; what they made is copied.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(parsed.database or "")
        assert not file.exists()
        file.touch(0o600)
        file.write_bytes(_sqlite_template())
    elif parsed.get_backend_name() == "mysql":
        engine = sync_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("SET foreign_key_checks = 0")  # a table may come before one that it refers to
            for statement in _mysql_template(parsed.set(database="mysql")):
                connection.exec_driver_sql(statement)
    else:
        _upgrade(url)


@cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        _upgrade(f"sqlite:///{file}")
        return file.read_bytes()


@cache
def _mysql_template(server: sa.URL) -> list[str]:
    """Return the statements that make what the migrations make on this server."""
    with new_database("mysql", server.render_as_string(hide_password=False)) as url:
        _upgrade(url)
        engine = sync_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            tables = sa.inspect(connection).get_table_names()
            made = [connection.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()[1] for table in tables]
            for table in tables:  # rows of strings alone, two of them: the revision, and what works on it
                rows = connection.exec_driver_sql(f"SELECT * FROM {table}")
                made += [f"INSERT INTO {table} VALUES ({', '.join(map(repr, row))})" for row in rows]
    return made


def _upgrade(url: str) -> None:
    async def upgrade() -> None:
        database = Database(url)
        await migrations.upgrade(database)
        await database.close()

    asyncio.run(upgrade())


@contextmanager
def migration_lock(url: str) -> Iterator[None]:
    """Inside, the lock of migrations is held, as by another process."""
    held, done = threading.Event(), threading.Event()

    def hold(_connection: sa.Connection) -> None:
        held.set()
        done.wait()

    async def locked() -> None:
        database = Database(url)
        await locks.migrate(database, hold)
        await database.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(asyncio.run, locked())
        holding.add_done_callback(lambda _: held.set())  # also if it fails
        held.wait()
        try:
            yield
        finally:
            done.set()
            holding.result()


def waiting_for_migration(url: str) -> int:
    """How many connections to a server wait for the lock of migrations of this database."""
    engine = sync_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.execute(sa.text(_WAITING[engine.dialect.name])).scalar_one())


_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND state = 'User lock'",
}


def insert_admin(connection: sa.Connection) -> None:
    """Make the admin, past the service."""
    connection.execute(
        sa.text(
            "INSERT INTO users (username, username_key, email, email_key, hashed_password,"
            " is_admin, is_active, created_at, version) VALUES ('admin', 'admin', 'admin@example.com',"
            " 'admin@example.com', :hashed, true, true, :now, 1)"
        ).bindparams(sa.bindparam("now", type_=Timestamp())),
        {"hashed": _admin_hash(), "now": now()},
    )


@cache
def _admin_hash() -> str:
    return bcrypt.hashpw(ADMIN_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
