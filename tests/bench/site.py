"""A filled database of the benchmark's own, with the servers to compare on it."""

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import bcrypt
import httpx2 as httpx
import sqlalchemy as sa

from tests.bench import tutorial_app
from tests.bench.load import Request
from tests.bench.servers import CONSTANT, TUTORIAL, USERAPI, PythonServer, Server, running
from tests.support import databases
from tests.support.people import PASSWORD, bearer
from tests.support.processes import run
from userapi.models import User, now

MAX_USERS = 1_000_000
KNOWN = 200  # accounts that log in
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Filled:
    """A database with users, the first an admin; those of even number have hashes of cost 4, the rest of full cost."""

    database: str
    url: str
    users: int
    rounds: int  # the full cost
    hashed: str  # a hash of full cost
    folder: Path  # for what servers print

    @property
    def sync_url(self) -> str:
        """The URL for an application that is not asynchronous."""
        engine = databases.sync_engine(self.url)
        engine.dispose()
        return engine.url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class Site:
    """The servers to compare on a database; the `cheap` ones have bcrypt cost 4."""

    filled: Filled
    ours: PythonServer
    cheap: PythonServer
    tutorial: PythonServer
    cheap_tutorial: PythonServer
    constant: PythonServer


def names(users: int, *, cheap: bool) -> list[str]:
    """Some users of even number, or of odd number; never the admin."""
    return [f"user{number}" for number in range(2 if cheap else 1, min(users, 2 * KNOWN), 2)]


def ids(users: int) -> list[int]:
    """Ids of users of any number but the admin's."""
    return [random.randrange(2, users + 1) for _ in range(1000)]


def path_halfway(users: int, server: Server, token: str, page_size: int) -> str:
    """The path of the page in the middle of all users: by a cursor, if the server gives any, else by its number."""
    pages = max(users // page_size // 2, 1)
    path = f"/users?page_size={page_size}"
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=bearer(token), timeout=60) as client:
        for _ in range(pages):  # a cursor is not to be made up
            link = client.get(path).raise_for_status().links.get("next", {}).get("url", "")
            if "after=" not in link:
                return f"/users?page={pages + 1}&page_size={page_size}"
            path = link
    return path


@contextmanager
def site(filled: Filled, workers: int) -> Iterator[Site]:
    """Start the servers on a database."""
    url, sync_url, folder, rounds = filled.url, filled.sync_url, filled.folder, filled.rounds
    servers = [
        PythonServer(USERAPI, url, folder, workers=workers, rounds=rounds),
        PythonServer(USERAPI, url, folder, workers=workers),
        PythonServer(TUTORIAL, sync_url, folder, workers=workers, rounds=rounds),
        PythonServer(TUTORIAL, sync_url, folder, workers=workers),
        PythonServer(CONSTANT, url, folder, workers=workers),
    ]
    with running(*servers):
        yield Site(filled, *servers)


def kind_of(database: str) -> str:
    """The kind of database that a command line names, be it by its kind or by a URL."""
    kind = sa.make_url(database).get_backend_name() if ":" in database else database
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(kind, kind)


@contextmanager
def filled_database(database: str, users: int, rounds: int) -> Iterator[Filled]:
    """Make a database and fill it; `database` is a kind or the URL of a place to make one in."""
    kind = kind_of(database)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userapi_")))
        if kind != "sqlite":
            if ":" in database:
                stack.enter_context(patch.dict(databases.SERVERS, {kind: database}))
            url = stack.enter_context(databases.new_database(kind))
        else:
            place = Path(sa.make_url(database).database or "").parent if ":" in database else None
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="userapi_", dir=place))
            url = f"sqlite:///{data}/users.db"
        migrated = run("userapi", "migrate", url=url)
        if migrated.returncode:
            raise RuntimeError(migrated.stderr)
        hashed = [bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode() for cost in (4, rounds)]
        engine = databases.sync_engine(url)
        fill(engine, users, *hashed)
        engine.dispose()
        yield Filled(kind, url, users, rounds, hashed[1], folder)


def fill(engine: sa.Engine, users: int, cheap_hash: str, full_hash: str) -> None:
    """Make users, all with the same password, in the service's table and in the tutorial's."""
    digits = sa.select(sa.literal(0).label("i")).cte("digits", recursive=True)
    digits = digits.union_all(sa.select(digits.c.i + 1).where(digits.c.i < 999))
    high, low = digits.alias("high"), digits.alias("low")
    n = (high.c.i * 1000 + low.c.i).label("n")
    pairs = high.join(low, sa.true())
    numbers = (
        sa.select(n).select_from(pairs).where(high.c.i <= users // 1000, n < users).order_by(n).subquery("numbers")
    )
    name = sa.literal("user") + sa.cast(numbers.c.n, sa.String(10))
    table: sa.Table = sa.inspect(User).local_table  # type: ignore[assignment]  # a class mapped to a table
    values: dict[str, Any] = {
        column: sa.literal(field.get_default(call_default_factory=True), table.c[column].type)
        for column, field in User.model_fields.items()
        if not field.is_required() and column != "id" and not table.c[column].nullable
    }
    values |= {
        "username": name,
        "username_key": name,
        "email": name + "@example.com",
        "email_key": name + "@example.com",
        "age": numbers.c.n % 80 + 18,
        "is_admin": sa.case((numbers.c.n == 0, sa.true()), else_=sa.false()),
        "created_at": sa.literal(now(), table.c.created_at.type),
        "hashed_password": sa.case((numbers.c.n % 2 == 0, cheap_hash), else_=full_hash),
    }
    theirs: sa.Table = tutorial_app.Base.metadata.tables["tutorial_users"]
    theirs.create(engine)
    same = [column.name for column in theirs.c if column.name != "id"]
    with engine.begin() as connection:
        connection.execute(table.insert().from_select([*values], sa.select(*values.values()).order_by(numbers.c.n)))
        connection.execute(
            theirs.insert().from_select(same, sa.select(*(table.c[column] for column in same)).order_by(table.c.id))
        )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # or it comes by itself, in the middle


def ask(server: Server, request: Request) -> httpx.Response:
    """Send one request.

    Raises: RuntimeError, unless the answer is one of success.
    """
    answer = httpx.request(
        request.method,
        f"http://127.0.0.1:{server.port}{request.path}",
        headers=dict(request.headers),
        content=request.body or None,
        timeout=60,
    )
    if not answer.is_success:
        raise RuntimeError(f"{request.method} {request.path} answered {answer.status_code}: {answer.text[:500]}")
    return answer


def login(name: str) -> Request:
    """The request that logs a user in."""
    return Request("POST", "/token", FORM, urlencode({"username": name, "password": PASSWORD}))


def log_in(server: Server, name: str) -> dict[str, Any]:
    """Give the answer to a login."""
    answer: dict[str, Any] = json.loads(ask(server, login(name)).content)
    return answer
