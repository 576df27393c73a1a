"""A URL as a person types it becomes an engine whose connections answer in time."""

import os
import sqlite3
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Engine, make_url
from sqlalchemy import create_engine as create_sqlalchemy_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 4  # a statement, its wait for a lock included, on a server

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
_POSTGRESQL_TIMEOUTS = f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={STATEMENT_SECONDS}s"
# The comments are code: the first for MariaDB, the second for MySQL.
_MYSQL_TIMEOUTS = (
    f"SET SESSION lock_wait_timeout={STATEMENT_SECONDS}, innodb_lock_wait_timeout={STATEMENT_SECONDS}"
    f" /*M!100000 , max_statement_time={STATEMENT_SECONDS} */ /*!50708 , max_execution_time={STATEMENT_SECONDS}000 */"
)


def driver_url(url: URL | str) -> URL:
    """Return the URL with the driver this service uses in place of the one named, if any; its options are kept.

    Raises:
        KeyError: It names a database that is not served.
    """
    url = make_url(url)
    return url.set(drivername=_DRIVERS[url.get_backend_name()])


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite URL, or None for a database in memory."""
    name = url.database or ""
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    in_memory = not name or name == ":memory:" or url.query.get("mode") == "memory"
    return None if in_memory else Path(name)


def sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    """Return an engine with one connection, which waits inside SQLite for at most `busy_seconds`.

    A unit never lets go of the event loop between its statements, so one connection serves them all.
    """
    (filename, *_), given = url.get_dialect()().create_connect_args(url)
    options = {**given, "timeout": busy_seconds, "isolation_level": None, "check_same_thread": False}

    def open_file() -> Any:
        _make_private(url)
        connection = sqlite3.connect(filename, **options)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    return create_sqlalchemy_engine(url, creator=open_file, poolclass=StaticPool, hide_parameters=True)


def _make_private(url: URL) -> None:
    """Make the file of a database for its owner only, if there is none yet: SQLite gives `-wal` and `-shm` its mode."""
    file = sqlite_file(url)
    if file is not None and url.query.get("mode", "rwc") == "rwc":
        with suppress(OSError):  # it is there, or SQLite will say what is wrong
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def server_engine(url: URL, *, limited: bool = True, **options: Any) -> AsyncEngine:
    """Return an engine on a server; unless `limited` is false, the server itself ends a statement after 4 s."""
    connect_args: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    if url.get_backend_name() == "postgresql":
        if limited:
            connect_args["options"] = f"{_POSTGRESQL_TIMEOUTS} {url.query.get('options', '')}"
    else:
        url, connect_args["ssl"] = _take_tls(url)
        if limited:
            connect_args["init_command"] = _MYSQL_TIMEOUTS
    return create_async_engine(url, connect_args=connect_args, hide_parameters=True, **options)


def _take_tls(url: URL) -> tuple[URL, ssl.SSLContext | None]:
    """Return the URL without PyMySQL's `ssl_*` options, and these as the context that asyncmy wants."""
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
