"""Hashes that other systems made: who has one logs in, and bcrypt takes its place."""

import json

import pytest
import sqlalchemy as sa

from tests.support.alembic import alembic
from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.hashes import FIREBASE, FIREBASE_PASSWORD, HASHES
from tests.support.insides import foreign_hashes
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.tutorial import connected

LONG = "Zk4m" * 30  # more than bcrypt reads
LONG_HASH = "$pbkdf2-sha256$1000$N.ZcS6m1NmbMGYOw9l4LwQ$34dKWejB9EERdyK05RnIcc6fL70uliCiFzTADPQr1Ak"


def imported(api: Api, *users: tuple[str, str]) -> None:
    """Import users of these names and hashes."""
    lines = [
        json.dumps({"username": name, "email": f"{name}@example.com", "hashed_password": hashed})
        for name, hashed in users
    ]
    done = command("import", "-", stdin="\n".join(lines), url=api.server.url)
    assert done.returncode == 0, done.stderr


def stored(api: Api, name: str) -> str:
    hashed: str = api.sql("SELECT hashed_password FROM users WHERE username = :name", name=name)[0][0]
    return hashed


class TestLogin:
    def test_every_spelling_lets_its_user_in_and_becomes_bcrypt(self, api: Api) -> None:
        users = [(f"user_{number}", hashed) for number, hashed in enumerate(HASHES.values())]
        imported(api, *users)
        for name, _ in users:
            wrong = api.http.post("/token", data={"username": name, "password": WRONG_PASSWORD})
            assert_refused(wrong, "invalid_credentials")
            api.log_in(name)
            assert stored(api, name).startswith(("$2b$04$", "$2a$04$", "$2y$04$"))
            api.log_in(name)

    @ON_SQLITE
    def test_firebases_scrypt(self, api: Api) -> None:
        imported(api, ("alice", FIREBASE))
        assert_refused(api.http.post("/token", data={"username": "alice", "password": PASSWORD}), "invalid_credentials")
        api.log_in("alice", FIREBASE_PASSWORD)
        assert stored(api, "alice").startswith("$2b$04$")

    @ON_SQLITE
    def test_password_longer_than_bcrypt_reads_keeps_its_hash(self, api: Api) -> None:
        imported(api, ("alice", LONG_HASH))
        for _ in range(2):
            api.log_in("alice", LONG)
        assert stored(api, "alice") == LONG_HASH
        assert_refused(
            api.http.post("/token", data={"username": "alice", "password": LONG[:-1]}), "invalid_credentials"
        )

    @ON_SQLITE
    def test_unusable_hash_is_kept_and_lets_nobody_in(self, api: Api) -> None:
        imported(api, ("alice", "!" + "x" * 40))
        for password in (PASSWORD, "!", "!" + "x" * 40):
            answer = api.http.post("/token", data={"username": "alice", "password": password})
            assert_refused(answer, "invalid_credentials")

    @ON_SQLITE
    def test_owner_proves_it_as_the_current_password(self, api: Api) -> None:
        imported(api, ("alice", HASHES["passlib-argon2id"]))
        token = api.token("alice")
        imported(api, ("bob", HASHES["passlib-argon2id"]))
        assert token
        answer = api.log_in("bob").patch("/users/me", json={"email": "b@example.com", "current_password": PASSWORD})
        assert answer.status_code == 200


class TestSchema:
    def test_going_back_makes_hashes_that_do_not_fit_unusable(self, url: str) -> None:
        rows = [("alice", HASHES["django-scrypt"]), ("bob", HASHES["passlib-2b"])]
        lines = [
            json.dumps({"username": name, "email": f"{name}@example.com", "hashed_password": hashed})
            for name, hashed in rows
        ]
        assert command("import", "-", stdin="\n".join(lines), url=url).returncode == 0
        alembic(url, "downgrade", "0010-1")
        alembic(url, "upgrade", "head")
        with connected(url) as connection:
            kept = connection.execute(sa.text("SELECT username, hashed_password FROM users ORDER BY id")).all()
        assert [tuple(row) for row in kept] == [("alice", "!"), rows[1]]


class TestRefused:
    """Hashes that cannot be verified, or that would hold a core or its memory for long."""

    @pytest.mark.parametrize(
        "hashed",
        [
            "",
            "x",
            "plain-password",
            "$1$salt$abcdefghijklmnopqrstuv",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "$2b$04$short",
            "$2b$16$" + "a" * 53,
            "pbkdf2_sha256$5000001$salt$" + "A" * 43 + "=",
            "pbkdf2_sha256$0$salt$" + "A" * 43 + "=",
            "pbkdf2_sha256$1000$salt$AAAA",
            "pbkdf2_sha256$1000$salt$" + "A" * 45,
            "pbkdf2:md5:1000$salt$" + "0" * 32,
            "pbkdf2:sha256:1000$salt$" + "0" * 33,
            "scrypt:1048576:8:1$salt$" + "0" * 64,
            "scrypt:32767:8:1$salt$" + "0" * 64,
            "scrypt:32768:8:64$salt$" + "0" * 64,
            "$scrypt$ln=40,r=8,p=1$c2FsdA$" + "A" * 43,
            "$argon2id$v=19$m=2097152,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43,
            "$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$" + "A" * 43,
            "$argon2id$v=19$m=65536,t=1,p=999$c2FsdHNhbHQ$" + "A" * 43,
            "$bcrypt-sha256$v=2,t=2b,r=31$" + "a" * 22 + "$" + "a" * 31,
        ],
    )
    def test_is_told_why(self, hashed: str) -> None:
        assert foreign_hashes.refusal(hashed)

    @pytest.mark.parametrize("hashed", [*HASHES.values(), FIREBASE, "!", "$2b$15$" + "a" * 53], ids=str)
    def test_others_are_taken(self, hashed: str) -> None:
        assert foreign_hashes.refusal(foreign_hashes.spelled_plainly(hashed)) is None
