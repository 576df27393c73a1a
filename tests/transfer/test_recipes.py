"""Users of other systems come in as userapi/MOVING.md says: its commands are run, on tables made as theirs."""

import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import new_database
from tests.support.hashes import HASHES
from tests.support.processes import ROOT
from tests.support.tutorial import connected

ARGON2, BCRYPT = HASHES["passlib-argon2id"], HASHES["passlib-2a"]
AT = datetime(2024, 2, 29, 12, 30, 45, 123000, tzinfo=UTC)
UUIDS = ["7b6f9a52-6c7e-4b36-9f44-0f3a4ad2a1d1", "e8b7c1f0-1f0a-4bd2-8e29-6d0f4a2f5c11"]


def recipe(system: str) -> list[str]:
    """The words of the command that the page has for a system, from `import` on."""
    text = (ROOT / "userapi" / "MOVING.md").read_text()
    [found] = re.findall(rf"^### {system}\n\n```sh\npython -m userapi (.*?)\n```", text, re.MULTILINE | re.DOTALL)
    return shlex.split(found)


def fastapi_users(connection: sa.Connection) -> None:
    """As fastapi-users' SQLAlchemyBaseUserTableUUID makes it; hashes of pwdlib, and bcrypt of its older versions."""
    kind = connection.dialect.name
    uuid = "UUID" if kind == "postgresql" else "CHAR(36)"
    quoted = connection.dialect.identifier_preparer.quote("user")
    connection.execute(
        sa.text(
            f"CREATE TABLE {quoted} (id {uuid} NOT NULL PRIMARY KEY, email VARCHAR(320) NOT NULL UNIQUE,"
            " hashed_password VARCHAR(1024) NOT NULL, is_active BOOLEAN NOT NULL, is_superuser BOOLEAN NOT NULL,"
            " is_verified BOOLEAN NOT NULL)"
        )
    )
    insert = sa.text(f"INSERT INTO {quoted} VALUES (:id, :email, :hash, true, :admin, true)")
    rows = [("alice@example.com", ARGON2, True), ("alice@example.org", BCRYPT, False)]
    for uid, (email, hashed, admin) in zip(UUIDS, rows, strict=True):
        connection.execute(insert, {"id": uid, "email": email, "hash": hashed, "admin": admin})


def django(connection: sa.Connection) -> None:
    """As Django's migrations of `auth` make it."""
    kind = connection.dialect.name
    time = {"postgresql": "TIMESTAMP WITH TIME ZONE", "mysql": "DATETIME(6)"}.get(kind, "DATETIME")
    connection.execute(
        sa.text(
            f"CREATE TABLE auth_user (id INTEGER NOT NULL PRIMARY KEY, password VARCHAR(128) NOT NULL,"
            f" last_login {time}, is_superuser BOOLEAN NOT NULL, username VARCHAR(150) NOT NULL UNIQUE,"
            " first_name VARCHAR(150) NOT NULL, last_name VARCHAR(150) NOT NULL, email VARCHAR(254) NOT NULL,"
            f" is_staff BOOLEAN NOT NULL, is_active BOOLEAN NOT NULL, date_joined {time} NOT NULL)"
        )
    )
    insert = sa.text(
        "INSERT INTO auth_user VALUES (:id, :hash, NULL, :admin, :name, '', '', :email, true, true, :at)"
    ).bindparams(sa.bindparam("at", type_=sa.DateTime(timezone=True)))
    rows = [
        (1001, "alice", "alice@example.com", HASHES["django-pbkdf2-sha256"], True),
        (1002, "anna.lena@example.com", "anna.lena@example.com", HASHES["django-scrypt"], False),
        (1003, "carol", "carol@example.com", "!" + "x" * 40, False),
    ]
    for user_id, name, email, hashed, admin in rows:
        row = {"id": user_id, "hash": hashed, "admin": admin, "name": name, "email": email, "at": AT}
        connection.execute(insert, row)


def pocketbase(connection: sa.Connection) -> None:
    """As PocketBase 0.23 makes its collection `users`."""
    connection.execute(
        sa.text(
            "CREATE TABLE users (avatar TEXT DEFAULT '' NOT NULL, created TEXT DEFAULT '' NOT NULL,"
            " email TEXT DEFAULT '' NOT NULL, emailVisibility BOOLEAN DEFAULT FALSE NOT NULL,"
            " id TEXT PRIMARY KEY DEFAULT ('r'||lower(hex(randomblob(7)))) NOT NULL, name TEXT DEFAULT '' NOT NULL,"
            " password TEXT DEFAULT '' NOT NULL, tokenKey TEXT DEFAULT '' NOT NULL, updated TEXT DEFAULT '' NOT NULL,"
            " verified BOOLEAN DEFAULT FALSE NOT NULL)"
        )
    )
    insert = sa.text(
        "INSERT INTO users (created, email, password, updated, tokenKey)"
        " VALUES ('2024-02-29 12:30:45.123Z', :email, :hash, '2024-02-29 12:30:45.123Z', 'x')"
    )
    for email in ("alice@example.com", "al@example.org"):
        connection.execute(insert, {"email": email, "hash": BCRYPT})


def supabase(connection: sa.Connection) -> None:
    """As Supabase's auth server makes its table, with the columns that matter and some that do not."""
    connection.execute(sa.text("CREATE SCHEMA auth"))
    connection.execute(
        sa.text(
            "CREATE TABLE auth.users (instance_id uuid, id uuid NOT NULL PRIMARY KEY, aud varchar(255),"
            " role varchar(255), email varchar(255), encrypted_password varchar(255), email_confirmed_at timestamptz,"
            " raw_user_meta_data jsonb,"
            " is_super_admin boolean, created_at timestamptz, updated_at timestamptz, banned_until timestamptz)"
        )
    )
    insert = sa.text(
        "INSERT INTO auth.users VALUES (NULL, :id, 'authenticated', 'authenticated', :email, :hash, :at, '{}', NULL,"
        " :at, :at, NULL)"
    )
    for uid, email in zip(UUIDS, ("alice@example.com", "alice@example.org"), strict=True):
        connection.execute(insert, {"id": uid, "email": email, "hash": BCRYPT, "at": AT})


@pytest.mark.parametrize(
    ("kind", "at", "system", "make", "names"),
    [
        ("sqlite", "sqlite", "fastapi-users", fastapi_users, ["alice", "alice_2"]),
        ("mysql", "postgresql", "fastapi-users", fastapi_users, ["alice", "alice_2"]),
        ("postgresql", "mysql", "Django", django, ["alice", "anna_lena_example_co", "carol"]),
        ("sqlite", "sqlite", "Django", django, ["alice", "anna_lena_example_co", "carol"]),
        ("sqlite", "sqlite", "PocketBase", pocketbase, ["al_user", "alice"]),
        ("postgresql", "postgresql", "Supabase", supabase, ["alice", "alice_2"]),
    ],
    indirect=["kind"],
)
def test_users_come_in_and_log_in(
    api: Api, at: str, system: str, make: Callable[[sa.Connection], None], names: list[str]
) -> None:
    with new_database(at) as source:
        with connected(source) as connection:
            make(connection)
        words = recipe(system)
        words[words.index("--from") + 1] = source
        done = command(*words, url=api.server.url)
    assert (done.returncode, done.stderr) == (0, "")
    rows: list[Any] = api.sql("SELECT username FROM users WHERE username <> 'admin' ORDER BY username")
    assert [name for (name,) in rows] == names
    alice = api.log_in("alice@example.com")
    assert alice.user["username"] == "alice"
    assert alice.user["is_admin"] is (system in {"fastapi-users", "Django"})
    if system == "Django":
        assert alice.id == 1001
        assert api.log_in("anna.lena@example.com").user["username"] == "anna_lena_example_co"
    if system != "fastapi-users":
        assert alice.user["created_at"].startswith("2024-02-29T12:30:45.123")
    assert (alice.user["email_verified_at"] == alice.user["created_at"]) is (system == "Supabase")
