"""Databases that tests make, on SQLite and on the servers that answer."""

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

# Where the servers are that tests may make databases in; each may be set to another address.
SERVERS = {
    "postgresql": os.environ.get("USERAPI_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": os.environ.get("USERAPI_TEST_MYSQL", "mysql://root@127.0.0.1:3306/mysql"),
}
KINDS = ["sqlite", *SERVERS]
# What must be there: a test that needs it fails without, instead of being skipped.
REQUIRED = [name for name in os.environ.get("USERAPI_TEST_REQUIRE", "").split(",") if name]
# For a test in which no database takes part: one is enough.
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True, scope="session")
# For what CI alone tries: it takes long, and would find little that the rest does not.
THOROUGH = bool(os.environ.get("USERAPI_TEST_THOROUGH"))
IF_THOROUGH = pytest.mark.skipif(not THOROUGH, reason="USERAPI_TEST_THOROUGH is not set")
# For a test that takes long and finds on the servers little that it would not find on SQLite.
SERVERS_IF_THOROUGH = pytest.mark.parametrize(
    "kind",
    ["sqlite", *(pytest.param(kind, marks=IF_THOROUGH) for kind in SERVERS)],
    indirect=True,
    scope="session",
)
_MEMORY = Path("/dev/shm")  # where files lie in memory: no test cuts the power, and syncing takes half the time
_SYNC_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


def skip_without(name: str, why: str) -> NoReturn:
    """Skip the test, since something it needs is absent; fail, if that was required."""
    if name in REQUIRED:
        pytest.fail(f"USERAPI_TEST_REQUIRE names {name}: {why}")
    pytest.skip(why)


def sync_engine(url: str, **options: Any) -> sa.Engine:
    """An engine of the tests' own, beside the service's."""
    parsed = sa.make_url(url)
    return sa.create_engine(parsed.set(drivername=_SYNC_DRIVERS[parsed.get_backend_name()]), **options)


def answers(kind: str) -> bool:
    """Whether a database server of this kind answers."""
    try:
        engine = sync_engine(SERVERS[kind])
        engine.connect().close()
        engine.dispose()
    except sa.exc.OperationalError:
        return False
    return True


@contextmanager
def new_database(kind: str, at: str | None = None) -> Iterator[str]:
    """The URL of an empty database of this kind, on the server `at` or the usual one, gone afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="userapi_", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            yield f"sqlite:///{folder}/users.db"
        return
    name = f"userapi_test_{secrets.token_hex(4)}"
    address = at or SERVERS[kind]
    server = sync_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(address).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.execute(sa.text(f"DROP DATABASE {name}{force}"))


def serializable(url: str) -> str:
    """The URL of a database of PostgreSQL by which transactions are serializable unless they ask for less."""
    options = {"options": "-c default_transaction_isolation=serializable"}
    return sa.make_url(url).update_query_dict(options).render_as_string(hide_password=False)


def sqlite_path(url: str) -> Path:
    return Path(re.sub(r"^sqlite:///", "", url))


def url_at(server: str, database: str) -> str:
    """The URL of the database of one URL on the server of another."""
    name = sa.make_url(database).database
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
