"""Users as requests and answers show them."""

import time
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tests.support.client import Actor, Api
from tests.support.crowd import Call, Crowd, Reply, Watch
from tests.support.people import PASSWORD
from tests.support.processes import wait_until

PUBLIC = {"id", "username", "email", "age", "locale", "is_admin", "is_active", "created_at", "updated_at"}
PUBLIC |= {"email_verified_at", "pending_email"}
# Values that break a field's rule, on create and on update.
INVALID_VALUES: dict[str, list[Any]] = {
    "username": ["", "ab", "a" * 21, "a b c", "anna-lena", "ännchen", "alice\n", "ali.ce", "a@b.de", "alice\0", 123],
    "email": [
        "",
        "alice",
        "@example.com",
        "alice@",
        "a b@example.com",
        "alice@example.com\n",
        "alice@localhost",
        "alice\0@example.com",
        "a@" + ".".join(["b" * 63] * 4) + ".com",
        5,
    ],
    "password": [
        "",
        "Zk4mWq7",
        "zk4mwq7x",
        "ZK4MWQ7X",
        "ZkxmWqyx",
        "Zk4mWq7" + "x" * 66,
        "Zk4mWq7" + "é" * 33,
        "Zk4m\0Wq7x",
        12345678,
    ],
    "age": [0, -1, 121, 2**31, 2**63, 10**18, 1.5, True, "old", []],
    "is_admin": ["perhaps", 2, {}],
}


INVALID = [(field, value) for field, values in INVALID_VALUES.items() for value in values]
VALID: list[tuple[str, Any]] = [
    ("username", "bob"),
    ("username", "B" * 20),
    ("username", "_0_"),
    ("email", "a.b+c@sub.example.com"),
    ("email", "ä@example.com"),
    ("email", "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com"),
    ("age", 1),
    ("age", 120),
]


def body_of(username: str = "alice", **fields: Any) -> dict[str, Any]:
    return {"username": username, "email": f"{username.lower()}@example.com", "password": PASSWORD, **fields}


def instant(text: str) -> datetime:
    """A time of an answer; it says its zone."""
    parsed = datetime.fromisoformat(text)
    assert parsed.utcoffset() == timedelta(0), text
    return parsed


def stored(api: Api) -> list[Any]:
    """All users as they are, but for when they last logged in."""
    rows = api.sql("SELECT * FROM users ORDER BY id")
    return [tuple(value for name, value in row._mapping.items() if name != "logged_in_at") for row in rows]


def tag_of(actor: Actor) -> str:
    tag: str = actor.get("/users/me").headers["ETag"]
    return tag


def changed_meanwhile(api: Api, call: Call, statement: str, *, then: str | None = None, **values: Any) -> Reply:
    """The answer to a request that finds a row as it is, and waits for it while a statement on it is not committed.

    `then` is executed while it waits.
    """
    crowd = Crowd(api.server, [call])
    with api.server.engine.connect() as connection:
        connection.execute(sa.text(statement), values)
        crowd.send()
        with Watch(api.server) as live:
            most = time.monotonic() + 2  # the service waits for 4 s
            wait_until(lambda: len(live.seconds) > 50 or time.monotonic() > most)
        if then:
            connection.execute(sa.text(then), values)
        connection.commit()
    (reply,) = crowd.replies()
    return reply


def deleted_meanwhile(api: Api, user_id: int, call: Call) -> Reply:
    """The answer to a request that finds a user there, who is deleted while it waits for the row."""
    return changed_meanwhile(api, call, "DELETE FROM users WHERE id = :id", id=user_id)
