"""A URL as a person types it becomes an engine whose connections answer in time."""

import hashlib
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, Connection, ExceptionContext, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from userapi.kit.database.faults import is_misdirected

CONNECT_SECONDS = 5
CONNECT_SECONDS_EACH = 2  # of several hosts: the second one's turn must come within a unit's time
STATEMENT_SECONDS = 4  # a statement, its wait for a lock included, on a server
POOL_SIZE = 5  # connections of a process that read, and as many that write
POOL_SECONDS = 3  # waiting for one of them

_POOL: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_SECONDS, "pool_use_lifo": True}
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
_POSTGRESQL_TIMEOUTS = ("statement_timeout", "lock_timeout")
# The comments are code: the first for MariaDB, the second for MySQL.
_MYSQL_TIMEOUTS = (
    f"SET SESSION lock_wait_timeout={STATEMENT_SECONDS}, innodb_lock_wait_timeout={STATEMENT_SECONDS}"
    f" /*M!100000 , max_statement_time={STATEMENT_SECONDS} */ /*!50708 , max_execution_time={STATEMENT_SECONDS}000 */"
)
PREPARE_AFTER = 5  # runs of a statement, psycopg's default; never behind a pooler
POOLED = "pooled"  # in the information of a connection: whether a pooler stands before the server

_AUTHORITY = re.compile(r"(postgres(?:ql)?(?:\+\w+)?://(?:[^/?#]*@)?)([^/?#@]*)(.*)", re.DOTALL)
_HOST = re.compile(r"\[?([^\[\]]*?)\]?(?::(\d*))?")


def parse_url(text: str) -> URL:
    """Return the URL of a database as a person types it; of PostgreSQL in any form that libpq takes.

    SQLAlchemy knows neither several hosts (`h1:5432,h2:5432`) nor the folder of a socket (`%2Frun`) in that place.

    Raises:
        ValueError: It is no URL.
        sqlalchemy.exc.ArgumentError: As well.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None or not set(found[2]) & {",", "%"}:
        return make_url(text)
    places = [_HOST.fullmatch(part) for part in found[2].split(",")]
    if None in places:
        raise ValueError("names a host that is none")
    rest = found[3] if found[3].startswith("/") else f"/{found[3]}"
    hosts = ",".join(unquote(place[1]) for place in places if place)
    ports = ",".join(place[2] or "5432" for place in places if place)
    return make_url(found[1] + rest).update_query_dict({"host": hosts, "port": ports})


def driver_url(url: URL | str) -> URL:
    """Return the URL with the driver this service uses in place of the one named, if any; its options are kept.

    Raises:
        KeyError: It names a database that is not served.
    """
    url = parse_url(url) if isinstance(url, str) else url
    return url.set(drivername=_DRIVERS[url.get_backend_name()])


def reader_engine(url: URL) -> AsyncEngine:
    """Return an engine for reads: autocommit saves the round trips of BEGIN and ROLLBACK."""
    return server_engine(url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **_POOL)


def writer_engine(url: URL) -> AsyncEngine:
    """Return an engine for changes, at READ COMMITTED: PostgreSQL's level, unless whoever runs it set a stricter one.

    MySQL's own is another, whose locks reach further.
    """
    if url.get_backend_name() == "postgresql":
        return server_engine(url, **_POOL)
    return server_engine(url, isolation_level="READ COMMITTED", **_POOL)


def server_engine(url: URL, *, limited: bool = True, **options: Any) -> AsyncEngine:
    """Return an engine on a server; unless `limited` is false, the server itself ends a statement after 4 s.

    An error that shows the server to be the wrong one, as one that became read-only, counts as a lost connection.
    """
    connect_args: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    prepare: Callable[[Any, Any], None]
    if url.get_backend_name() == "postgresql":
        url, prepare = _take_pooler(url, connect_args, limited)
    else:
        url, connect_args["ssl"] = _take_tls(url)
        prepare = _prepare_limited if limited else _prepare_mysql
    engine = create_async_engine(url, connect_args=connect_args, hide_parameters=True, **options)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "handle_error", _judge)
    return engine


def _judge(context: ExceptionContext) -> None:
    if is_misdirected(context.original_exception):
        context.is_disconnect = True  # it and those beside it in the pool are not used again


def _take_pooler(url: URL, connect_args: dict[str, Any], limited: bool) -> tuple[URL, Callable[[Any, Any], None]]:
    """Return the URL without what libpq does not know, and what makes a new connection ready.

    Behind a pooler each transaction may have another server connection, so nothing is prepared there and nothing is
    set for longer than a transaction. One is found out by its word for the server process, which is not the server's
    own; `pooler=transaction` spares that question. No time limit is among the start-up parameters, which poolers
    refuse.
    """
    known, threshold = url.query.get("pooler") == "transaction", url.query.get("prepare_threshold")
    url = url.difference_update_query(["pooler"] if known else []).difference_update_query(["prepare_threshold"])
    connect_args["prepare_threshold"] = None
    if "," in str(url.query.get("host", "")) or isinstance(url.query.get("host"), tuple):
        connect_args["connect_timeout"] = CONNECT_SECONDS_EACH
        if "target_session_attrs" not in url.query:
            connect_args["target_session_attrs"] = "read-write"  # a standby knows nothing of the newest revocations
    own = str(url.query.get("options", ""))
    names = [name for name in _POSTGRESQL_TIMEOUTS if name not in own]

    def prepare(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        pooled = known
        if not known:
            cursor.execute("SELECT pg_backend_pid()")
            pooled = cursor.fetchone()[0] != connection.info.backend_pid
        record.info[POOLED] = pooled and limited
        if threshold is not None:
            connection.driver_connection.prepare_threshold = int(str(threshold)) if str(threshold).isdigit() else None
            _name_by_text(connection.driver_connection)
        elif not pooled:
            connection.driver_connection.prepare_threshold = PREPARE_AFTER
        if names and limited and not pooled:
            cursor.execute(_limits(names, "false"))
        connection.commit()
        cursor.close()

    return url, prepare


def _name_by_text(connection: Any) -> None:
    """Have psycopg name what it prepares by its text and types; it would count on each connection: `_pg3_0`, `_pg3_1`.

    Clients of a pooler that knows of no prepared statements then find one of theirs by its name, or none. By a number
    they ran another in its place, whose rows could not be read, or which would have written something else.
    """
    prepared = connection._prepared  # noqa: SLF001 - there is no public way
    counted = prepared.get

    def get(query: Any, prepare: bool | None = None) -> tuple[Any, bytes]:
        whether, name = counted(query, prepare)
        told = hashlib.blake2b(repr(prepared.key(query)).encode(), digest_size=16).hexdigest()
        return whether, name and f"userapi_{told}".encode()

    prepared.get = get


def limit_transaction(connection: Connection) -> None:
    """Give a transaction behind a pooler the time limits that a connection of one's own has."""
    if connection.info.get(POOLED):
        connection.exec_driver_sql(_limits(_POSTGRESQL_TIMEOUTS, "true"))


def _limits(names: Sequence[str], local: str) -> str:
    """Return a statement, one that can be prepared, which sets time limits, for a transaction only if `local`."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{STATEMENT_SECONDS}s', {local})" for name in names)


def _prepare_limited(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(_MYSQL_TIMEOUTS)
    cursor.close()
    _prepare_mysql(connection, record)


def _prepare_mysql(connection: Any, _record: Any) -> None:
    """On a node of a Galera cluster, see in each statement what any node has committed before it."""
    cursor = connection.cursor()
    cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
    if (found := cursor.fetchone()) and found[1] == "ON":
        cursor.execute("SET SESSION wsrep_sync_wait = 7")
    cursor.close()


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
