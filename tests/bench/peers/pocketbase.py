"""PocketBase: users are records of its collection `users`, and its superuser is who lists and makes them."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from tests.bench.load import Chain, Load, Request
from tests.bench.peers.peer import HERE, ME, Peer, Person, database_file, people
from tests.bench.servers import Server, running
from tests.bench.site import JSON, Filled, ask, ids, names
from tests.support.installed import programs
from tests.support.people import PASSWORD, bearer

NAME = "PocketBase"
SUPERUSER = "superuser@example.com"
USERS = "/api/collections/users"
FIELDS = [
    {"type": "text", "name": "username", "required": True},
    {"type": "number", "name": "age"},
    {"type": "bool", "name": "is_admin"},
    {"type": "bool", "name": "is_active"},
]
INDEX = "CREATE UNIQUE INDEX users_username ON users (username)"


@contextmanager
def pocketbase(filled: Filled, workers: int) -> Iterator[Peer]:
    """Start it with as many threads that run Go as the others have workers, and with the same users."""
    program = str(programs(HERE / "pocketbase.txt") / "pocketbase")
    with TemporaryDirectory(prefix="userapi_", dir=database_file(filled).parent) as data:
        environment = {"PATH": os.environ["PATH"], "HOME": data, "GOMAXPROCS": str(workers)}
        subprocess.run(
            [program, "superuser", "upsert", SUPERUSER, PASSWORD, f"--dir={data}"],
            env=environment,
            cwd=data,
            capture_output=True,
            check=True,
        )
        server = Server([program, "serve", "--http=127.0.0.1:{port}", f"--dir={data}"], environment, filled.folder)
        with running(server):
            superuser = bearer(_log_in(server, "_superusers", SUPERUSER)["token"])
            _prepare(server, superuser, filled.rounds)
            _fill(Path(data, "data.db"), people(filled))
            yield Peer(NAME, _loads(server, superuser, filled.users))


def _prepare(server: Server, superuser: dict[str, str], rounds: int) -> None:
    """Give its users our fields and our bcrypt cost. Its limits of rates are off as it comes."""
    collection = ask(server, Request("GET", USERS, superuser)).json()
    kept = [field for field in collection["fields"] if field["name"] not in {"name", "avatar"}]
    for field in kept:
        if field["name"] == "password":
            field["cost"] = rounds
    changed = {"fields": kept + FIELDS, "indexes": [*collection["indexes"], INDEX]}
    ask(server, Request("PATCH", USERS, superuser | JSON, json.dumps(changed)))


def _fill(file: Path, persons: list[Person]) -> None:
    with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (id, tokenKey, username, email, password, age, is_admin, is_active, verified, created,"
            " updated) VALUES (?, hex(randomblob(25)), ?, ?, ?, ?, ?, TRUE, TRUE, strftime('%Y-%m-%d %H:%M:%fZ'),"
            " strftime('%Y-%m-%d %H:%M:%fZ'))",
            ((_record_id(number), *person) for number, person in enumerate(persons)),
        )


def _record_id(number: int) -> str:
    return f"user{number:011}"


def _login(collection: str, identity: str) -> Request:
    body = json.dumps({"identity": identity, "password": PASSWORD})
    return Request("POST", f"/api/collections/{collection}/auth-with-password", JSON, body)


def _log_in(server: Server, collection: str, identity: str) -> dict[str, Any]:
    answer: dict[str, Any] = ask(server, _login(collection, identity)).json()
    return answer


def _loads(server: Server, superuser: dict[str, str], users: int) -> dict[str, Load]:
    logged_in = [_log_in(server, "users", f"{name}@example.com") for name in names(users, cheap=True)[:ME]]
    own = [(f"{USERS}/records/{one['record']['id']}", bearer(one["token"])) for one in logged_in]
    new = {"username": "u{n}", "email": "u{n}@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
    pages = f"{USERS}/records?skipTotal=true&perPage="
    searches = [f'username ~ "user{number}"' for number in ids(users)]
    tokens = [one["token"] for one in logged_in]

    def refreshes() -> Chain:
        token = tokens[0]
        while True:
            answer = yield Request("POST", f"{USERS}/auth-refresh", bearer(token))
            token = json.loads(answer).get("token", token)

    return {
        "me": Load(server, [Request("GET", path, caller) for path, caller in own]),
        "list10": Load(server, [Request("GET", f"{pages}10", superuser)]),
        "list100": Load(server, [Request("GET", f"{pages}100", superuser)]),
        "search": Load(server, [Request("GET", f"{pages}10&filter={quote(each)}", superuser) for each in searches]),
        "update": Load(server, [Request("PATCH", path, caller | JSON, '{"age": {age}}') for path, caller in own]),
        "refresh": Load(server, chain=refreshes),
        "login": Load(
            server, [_login("users", f"{name}@example.com") for name in names(users, cheap=False)], slow=True
        ),
        "create": Load(server, [Request("POST", f"{USERS}/records", superuser | JSON, json.dumps(new))], slow=True),
    }
