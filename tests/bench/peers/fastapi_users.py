"""fastapi-users: one logs in, registers, and reads and changes oneself; it lists nobody and renews no token."""

import json
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from tests.bench.load import Load, Request
from tests.bench.peers.peer import HERE, ME, Peer, Person, database_file, people
from tests.bench.servers import PythonServer, Server, running
from tests.bench.site import FORM, JSON, Filled, ask, names
from tests.support.installed import programs
from tests.support.people import PASSWORD, bearer
from tests.support.processes import environment

NAME = "fastapi-users"
APP = "tests.bench.peers.fastapi_users_app"


@contextmanager
def fastapi_users(filled: Filled, workers: int) -> Iterator[Peer]:
    """Start it on a database of its own with the same users."""
    python = str(programs(HERE / "fastapi_users.txt") / "python")
    with TemporaryDirectory(prefix="userapi_", dir=database_file(filled).parent) as data:
        file = Path(data, "users.db")
        url = f"sqlite+aiosqlite:///{file}"
        settings = environment(url, ACCESS_TOKEN_EXPIRE_MINUTES="1", PYTHONWARNINGS="")
        subprocess.run([python, "-m", APP], env=settings, cwd=data, check=True)
        _fill(file, people(filled))
        module = ("uvicorn", f"{APP}:app")
        server = PythonServer(module, url, filled.folder, workers=workers, rounds=filled.rounds, python=python)
        with running(server):
            yield Peer(NAME, _loads(server, filled.users))


def _fill(file: Path, persons: list[Person]) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(
            "INSERT INTO user (id, username, email, hashed_password, age, is_superuser, is_active, is_verified)"
            " VALUES (?, ?, ?, ?, ?, ?, TRUE, TRUE)",
            ((str(uuid.uuid4()), *person) for person in persons),
        )


def _login(name: str) -> Request:
    body = urlencode({"username": f"{name}@example.com", "password": PASSWORD})
    return Request("POST", "/auth/jwt/login", FORM, body)


def _loads(server: Server, users: int) -> dict[str, Load]:
    tokens = [ask(server, _login(name)).json()["access_token"] for name in names(users, cheap=True)[:ME]]
    new = {"username": "u{n}", "email": "u{n}@example.com", "password": PASSWORD}
    return {
        "me": Load(server, [Request("GET", "/users/me", bearer(token)) for token in tokens]),
        "update": Load(
            server, [Request("PATCH", "/users/me", bearer(token) | JSON, '{"age": {age}}') for token in tokens]
        ),
        "login": Load(server, [_login(name) for name in names(users, cheap=False)], slow=True),
        "create": Load(server, [Request("POST", "/auth/register", JSON, json.dumps(new))], slow=True),
    }
