"""The service as tests use it: real databases, real server processes, real sockets."""

import asyncio
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import bcrypt
import httpx2 as httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from userapi import bootstrap
from userapi.database import Database
from userapi.main import create_app
from userapi.models import Timestamp, now
from userapi.settings import Settings

ROOT = Path(__file__).parent.parent
# For what no database has a part in: one is enough.
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"], indirect=True, scope="session")
PASSWORD = "Correct-Horse-7"
ADMIN_PASSWORD = "Right-Battery-9"
SECRET_KEY = secrets.token_hex(32)

# Where the servers are that tests may make databases in; each may be set to another address.
SERVERS = {
    "postgresql": os.environ.get("USERAPI_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": os.environ.get("USERAPI_TEST_MYSQL", "mysql://root@127.0.0.1:3306/mysql"),
}
_SYNC_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


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
        with tempfile.TemporaryDirectory(prefix="userapi_") as folder:
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


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a service process: nothing of the tester's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error",
        "DATABASE_URL": url,
        "SECRET_KEY": SECRET_KEY,
        "BCRYPT_ROUNDS": "4",
        **settings,
    }


Finished = subprocess.CompletedProcess[str]


def run(*args: str, url: str, stdin: str | None = None, cwd: Path = ROOT, **settings: str) -> Finished:
    """Run `python -m ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", *args],
        env=environment(url, **settings),
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]


@dataclass
class Server:
    """A running service process and what it has printed."""

    process: subprocess.Popen[str]
    url: str
    base_url: str
    output: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)

    @property
    def text(self) -> str:
        return "".join(self.output)

    @cached_property
    def engine(self) -> sa.Engine:
        """The tests' own way to its database."""
        return sync_engine(self.url, pool_pre_ping=True)

    def client(self, **options: Any) -> httpx.Client:
        """A client for plain HTTP: not verifying spares the 30 ms that loading certificates takes."""
        return httpx.Client(**{"base_url": self.base_url, "timeout": 30, "verify": False, **options})

    def wait(self, seconds: float = 60) -> Self:
        """Wait until it serves; raises if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with self.client(timeout=2) as http:
                    if http.get("/health/live").status_code == 200:
                        return self
            except httpx.TransportError:
                time.sleep(0.02)
        self.stop()
        raise AssertionError(f"the service did not start:\n{self.text}")

    def stop(self, seconds: float = 25) -> int:
        """End it as an operator would (SIGTERM); give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()
        if "engine" in vars(self):
            self.engine.dispose()
        return code


def refused_to_start(finished: Finished) -> str:
    """Check that a command ended as a refusal does, and give its sentence: exit code 1, no traceback."""
    assert finished.returncode == 1, finished
    assert "Traceback" not in finished.stdout + finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: "), finished.stderr
    return lines[0].removeprefix("error: ")


def migrate(url: str) -> None:
    """Make the schema in an empty database, as `python -m userapi migrate` does, without a process of its own."""

    async def upgrade() -> None:
        database = Database(url)
        await bootstrap.upgrade(database)
        await database.close()

    asyncio.run(upgrade())


@contextmanager
def serving(url: str, *options: str, **settings: Any) -> Iterator[Server]:
    """A service process on a free port that answers, ended afterwards; arguments as for `launched`."""
    with launched(url, *options, **settings) as server:
        yield server.wait()


@contextmanager
def launched(
    url: str, *options: str, command: tuple[str, ...] = ("userapi", "serve"), cwd: Path = ROOT, **settings: str
) -> Iterator[Server]:
    """A service process on a free port that may not answer yet, ended afterwards."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", str(port), *options],
        env=environment(url, **settings),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process, url, f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        server.stop()


def insert_admin(connection: sa.Connection) -> None:
    """Make the admin, past the service."""
    connection.execute(
        sa.text(
            "INSERT INTO users (username, username_key, email, email_key, hashed_password,"
            " is_admin, is_active, created_at, version) VALUES ('admin', 'admin', 'admin@example.com',"
            " 'admin@example.com', :hashed, true, true, :now, 1)"
        ).bindparams(sa.bindparam("now", type_=Timestamp())),
        {"hashed": bcrypt.hashpw(ADMIN_PASSWORD.encode(), bcrypt.gensalt(4)).decode(), "now": now()},
    )


class Call(NamedTuple):
    """A request to be sent with others at once."""

    method: str
    path: str
    token: str | None = None
    json: Any = None
    form: dict[str, str] | None = None
    headers: Mapping[str, str] = {}


class Reply(NamedTuple):
    """The answer to a call."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Crowd:
    """Clients that have connected and send their requests back to back, so that they really run in parallel."""

    def __init__(self, server: Server, calls: Sequence[Call], timeout: float = 60) -> None:
        """Connect, and send nothing yet."""
        self._calls = calls
        self._connections = [HTTPConnection(urlsplit(server.base_url).netloc, timeout=timeout) for _ in calls]
        for connection in self._connections:
            connection.connect()

    def send(self) -> Self:
        """Send the requests."""
        for call, connection in zip(self._calls, self._connections, strict=True):
            headers = {**call.headers, **(bearer(call.token) if call.token else {})}
            body = None
            if call.json is not None:
                body, headers["Content-Type"] = json.dumps(call.json), "application/json"
            elif call.form is not None:
                body, headers["Content-Type"] = urlencode(call.form), "application/x-www-form-urlencoded"
            connection.request(call.method, call.path, body, headers)
        return self

    def replies(self) -> Iterator[Reply]:
        """Give the answers in the order of the calls; raises OSError or HTTPException for one that broke off."""
        try:
            for connection in self._connections:
                answer = connection.getresponse()
                body = answer.read()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                yield Reply(answer.status, headers, json.loads(body) if body else None)
        finally:
            for connection in self._connections:
                connection.close()


def at_once(server: Server, calls: Sequence[Call]) -> list[Reply]:
    """Send all these requests in parallel, each on a connection of its own, and give the answers."""
    return list(Crowd(server, calls).send().replies())


class Watch:
    """Asks for one path over and over, on a connection of its own, while a `with` block runs."""

    def __init__(self, server: Server, path: str = "/health/live", token: str | None = None) -> None:
        self._server, self._call = server, Call("GET", path, token)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        self.statuses: set[int] = set()

    def _run(self) -> None:
        connection = HTTPConnection(urlsplit(self._server.base_url).netloc, timeout=30)
        headers = bearer(self._call.token) if self._call.token else {}
        while not self._done.wait(0.01):
            begun = time.monotonic()
            try:
                connection.request("GET", self._call.path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except OSError:
                connection.close()
                status = 0
            self.seconds.append(time.monotonic() - begun)
            self.statuses.add(status)
        connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def assert_answered_within(self, seconds: float) -> None:
        assert self.statuses == {200}, self.statuses
        assert max(self.seconds) < seconds, f"{max(self.seconds):.2f} s"


class Api:
    """A client of a running service whose database holds nothing but one admin."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kind = sa.make_url(server.url).get_backend_name()
        self.http = server.client(event_hooks={"response": [assert_declared]})
        self._clean()

    @cached_property
    def admin(self) -> "Actor":
        """The admin, logged in."""
        return self.log_in("admin", ADMIN_PASSWORD)

    def close(self) -> None:
        self.http.close()

    def _clean(self) -> None:
        with self.server.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM login_sessions"))
            connection.execute(sa.text("DELETE FROM users"))
            insert_admin(connection)

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows of a query, beside the service."""
        with self.server.engine.begin() as connection:
            result = connection.execute(sa.text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    def execute(self, statement: sa.Executable, rows: Any = None) -> None:
        """Run a statement beside the service, with the types that the models give the values."""
        with self.server.engine.begin() as connection:
            connection.execute(statement, rows)

    def grant(self, username: str, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
        """The answer to a fresh login: a pair of tokens."""
        answer = self.http.post("/token", data={"username": username, "password": password}, headers=headers)
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def token(self, username: str, password: str = PASSWORD) -> str:
        """An access token of a fresh login."""
        token: str = self.grant(username, password)["access_token"]
        return token

    def log_in(self, username: str, password: str = PASSWORD) -> "Actor":
        """Whoever logs in with this name, to make requests as."""
        token = self.token(username, password)
        me = self.http.get("/users/me", headers=bearer(token))
        assert me.status_code == 200, me.text
        return Actor(self, me.json(), token)

    def new_user(self, username: str = "alice", **fields: Any) -> dict[str, Any]:
        """A user that the admin makes."""
        body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD, **fields}
        answer = self.admin.post("/users", json=body)
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    def new_actor(self, username: str = "alice", **fields: Any) -> "Actor":
        """A new user, logged in."""
        self.new_user(username, **fields)
        return self.log_in(username, fields.get("password", PASSWORD))


@dataclass
class Actor:
    """A logged-in user that makes requests."""

    api: Api
    user: dict[str, Any]
    token: str

    @property
    def id(self) -> int:
        user_id: int = self.user["id"]
        return user_id

    @property
    def path(self) -> str:
        return f"/users/{self.id}"

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        return self.api.http.request(method, path, headers={**bearer(self.token), **(headers or {})}, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)


# The words of each refusal, as clients read them.
REFUSALS = {
    "not_authenticated": (401, "Not authenticated"),
    "invalid_token": (401, "Could not validate credentials"),
    "invalid_credentials": (401, "Incorrect username or password"),
    "not_enough_permissions": (403, "Not enough permissions"),
    "user_not_found": (404, "User not found"),
    "username_taken": (400, "Username already registered"),
    "email_taken": (400, "Email already registered"),
    "current_password_required": (400, "Current password required"),
    "current_password_incorrect": (400, "Current password incorrect"),
    "last_admin": (400, "At least one active admin must remain"),
    "session_not_found": (404, "Session not found"),
    "precondition_failed": (412, "The user has changed meanwhile"),
    "invalid_grant": (400, "The refresh token is invalid or expired"),
    "unsupported_grant_type": (400, "The grant type is neither password nor refresh_token"),
    "invalid_request": (400, "The parameter token is missing"),
    "too_many_attempts": (429, "Too many failed attempts, try again later"),
    "not_found": (404, "Not Found"),
}


def assert_refused(answer: httpx.Response, code: str) -> None:
    """Check that an answer is this refusal, in words and in code."""
    body = answer.json()
    assert (answer.status_code, body["detail"], body["code"]) == (*REFUSALS[code], code), answer.text


def assert_invalid(answer: httpx.Response, *fields: str) -> None:
    """Check that an answer is a 422 in the common shape that names these fields and repeats no value."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "validation_error"), answer.text
    assert all(item.keys() == {"loc", "msg", "type"} for item in body["detail"]), answer.text
    assert {item["loc"][1] for item in body["detail"] if len(item["loc"]) > 1} == set(fields), answer.text


@cache
def openapi() -> dict[str, Any]:
    """The service's OpenAPI document."""
    settings = Settings(_env_file=None, database_url="sqlite://", secret_key=SecretStr(SECRET_KEY))
    return create_app(settings).openapi()


def operations() -> list[tuple[str, str]]:
    """The method and path of every documented route."""
    return [(method.upper(), path) for path, item in openapi()["paths"].items() for method in item]


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What the OpenAPI document says of the route that answers a path, if there is one."""
    for template, item in openapi()["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get(method.lower())
            return found
    return None


def assert_declared(answer: httpx.Response) -> None:
    """Check that the OpenAPI document knows this status of the route."""
    request = answer.request
    declared = operation(request.method, request.url.raw_path.decode().partition("?")[0])
    if declared is not None:
        status = str(answer.status_code)
        assert status in declared["responses"], f"{request.method} {request.url.path} answers {status}, undeclared"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sqlite_path(url: str) -> Path:
    return Path(re.sub(r"^sqlite:///", "", url))
