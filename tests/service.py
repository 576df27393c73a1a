"""The service as tests use it: real databases, real server processes, real sockets."""

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import bcrypt
import httpx2 as httpx
import sqlalchemy as sa

ROOT = Path(__file__).parent.parent
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
def new_database(kind: str) -> Iterator[str]:
    """The URL of an empty database of this kind, gone afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="userapi_") as folder:
            yield f"sqlite:///{folder}/users.db"
        return
    name = f"userapi_test_{secrets.token_hex(4)}"
    server = sync_engine(SERVERS[kind], isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(SERVERS[kind]).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.execute(sa.text(f"DROP DATABASE {name}{force}"))
        server.dispose()


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


def run(
    *args: str, url: str, stdin: str | None = None, cwd: Path = ROOT, **settings: str
) -> subprocess.CompletedProcess[str]:
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

    def wait(self, seconds: float = 30) -> Self:
        """Wait until it serves; raises if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.base_url}/health/live", timeout=2).status_code == 200:
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
        return code


@contextmanager
def serving(
    url: str, *options: str, command: tuple[str, ...] = ("userapi", "serve"), cwd: Path = ROOT, **settings: str
) -> Iterator[Server]:
    """A service process on a free port, ended afterwards."""
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
        yield server.wait()
    finally:
        server.stop()


class Api:
    """A client of a running service whose database holds nothing but one admin."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kind = sa.make_url(server.url).get_backend_name()
        self.http = httpx.Client(base_url=server.base_url, timeout=30)
        self.engine = sync_engine(server.url)
        self._clean()
        self.admin = self.log_in("admin", ADMIN_PASSWORD)

    def close(self) -> None:
        self.http.close()
        self.engine.dispose()

    def _clean(self) -> None:
        hashed = bcrypt.hashpw(ADMIN_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        with self.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM login_sessions"))
            connection.execute(sa.text("DELETE FROM users"))
            connection.execute(
                sa.text(
                    "INSERT INTO users (username, username_key, email, email_key, hashed_password,"
                    " is_admin, is_active, created_at, version) VALUES ('admin', 'admin', 'admin@example.com',"
                    " 'admin@example.com', :hashed, true, true, CURRENT_TIMESTAMP, 1)"
                ),
                {"hashed": hashed},
            )

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows of a query, beside the service."""
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    def token(self, username: str, password: str = PASSWORD) -> str:
        """An access token of a fresh login."""
        answer = self.http.post("/token", data={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
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


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def sqlite_path(url: str) -> Path:
    return Path(re.sub(r"^sqlite:///", "", url))
