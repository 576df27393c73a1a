"""What no service can beat: bcrypt by itself on all cores, and the service's own SQL by the bare driver."""

import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx2 as httpx
import psycopg
import pymysql
import sqlalchemy as sa
from pydantic import SecretStr

from tests.bench.load import Request, Sample, quantiles_ms
from tests.support.people import PASSWORD
from tests.support.processes import SECRET_KEY
from userapi.capabilities import Settings
from userapi.main import create_app
from userapi.security import bcrypt_hash

Statement = tuple[str, Any] | None  # SQL and its parameters; None is a commit

_MARK = "zzmark"  # what the recorded requests have in place of `{n}`
_MOMENT_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


def bcrypt_alone(hashed: str, seconds: float) -> Sample:
    """Check a password again and again, on all cores, as the service does."""
    cores = os.cpu_count() or 1
    deadline = time.perf_counter() + seconds

    def check(_: int) -> list[float]:
        taken: list[float] = []
        while not taken or time.perf_counter() < deadline:
            begun = time.perf_counter()
            bcrypt_hash.check(PASSWORD.encode(), hashed)
            taken.append(time.perf_counter() - begun)
        return taken

    begun, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(cores) as threads:
        taken = [second for part in threads.map(check, range(cores)) for second in part]
    elapsed, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Sample(len(taken) / elapsed, *quantiles_ms(taken), cpu * 1e6 / len(taken))


async def record(url: str, requests: Mapping[str, Sequence[Request]]) -> dict[str, list[Statement]]:
    """Give the SQL that the service runs for the last of each operation's requests."""
    running: list[Statement] = []

    def ran(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        running.append((statement, parameters))

    def committed(connection: sa.Connection) -> None:
        if connection.dialect.name != "sqlite":  # there a unit is a savepoint, and COMMIT a statement
            running.append(None)

    recorded = {}
    app = create_app(Settings(database_url=url, secret_key=SecretStr(SECRET_KEY), bcrypt_rounds=4))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench") as http,
    ):
        sa.event.listen(sa.Engine, "before_cursor_execute", ran)
        sa.event.listen(sa.Engine, "commit", committed)
        try:
            for name, of_name in requests.items():
                for mark, age, request in (("aamark", "16", of_name[0]), (_MARK, "17", of_name[-1])):
                    body = request.body.replace("{n}", mark).replace("{age}", age)
                    for _ in range(1 if body != request.body else 2):  # the first time may also prepare, or remember
                        running.clear()
                        answer = await http.request(
                            request.method, request.path, headers=dict(request.headers), content=body or None
                        )
                        answer.raise_for_status()
                recorded[name] = list(running)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", ran)
            sa.event.remove(sa.Engine, "commit", committed)
    return recorded


def sql_alone(url: str, statements: list[Statement], seconds: float) -> Sample:
    """Run a request's SQL again and again on one connection of the bare driver."""
    connection = _connect(sa.make_url(url), autocommit=None not in statements)
    try:
        cursor = connection.cursor()
        taken: list[float] = []
        tag = str(time.time_ns() // 1000 % 10**9)
        deadline = time.perf_counter() + seconds
        begun, cpu = time.perf_counter(), time.process_time()
        while not taken or time.perf_counter() < deadline:
            fresh = [s and (s[0], _fresh(s[1], tag, len(taken))) for s in statements]
            started = time.perf_counter()
            for statement in fresh:
                if statement is None:
                    connection.commit()
                    continue
                cursor.execute(*statement)
                if cursor.description:
                    cursor.fetchall()
            taken.append(time.perf_counter() - started)
        elapsed, cpu = time.perf_counter() - begun, time.process_time() - cpu
    finally:
        connection.close()
    return Sample(len(taken) / elapsed, *quantiles_ms(taken), cpu * 1e6 / len(taken))


def _connect(url: sa.URL, *, autocommit: bool) -> Any:
    backend = url.get_backend_name()
    if backend == "sqlite":
        connection = sqlite3.connect(url.database or "", isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection
    if backend == "postgresql":
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(plain, autocommit=autocommit)
    named = url.translate_connect_args(database="database", username="user")
    return pymysql.connect(**named, autocommit=autocommit)


def _fresh(parameters: Any, tag: str, count: int) -> Any:
    """The parameters with other names and times: a database does less for a change that changes nothing."""
    later = timedelta(microseconds=count % 1_000_000)

    def fresh(value: Any) -> Any:
        if isinstance(value, datetime):
            return value + later
        if not isinstance(value, str):
            return value
        if _MOMENT.fullmatch(value):
            return f"{datetime.fromisoformat(value) + later:{_MOMENT_FORMAT}}"
        return value.replace(_MARK, f"{tag}_{count}")

    if isinstance(parameters, Mapping):
        return {name: fresh(value) for name, value in parameters.items()}
    return tuple(map(fresh, parameters))
