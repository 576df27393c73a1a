"""The database of the tutorial becomes the service's own."""

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support import tutorial
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, serializable
from tests.support.insides import Timestamp
from tests.support.people import PASSWORD, bearer
from tests.support.processes import refused_to_start
from tests.support.servers import serving
from tests.support.statements import failing_at, watched
from tests.support.tutorial import CREATED, HASH, USERS, connected, everything

ON_MYSQL = pytest.mark.parametrize("kind", ["mysql"], indirect=True, scope="session")
COLLIDING: list[dict[str, Any]] = [
    {"id": 1, "username": "alice", "email": "alice@example.com"},
    {"id": 2, "username": "ALICE", "email": "other@example.com"},
    {"id": 3, "username": "bob", "email": "Alice@Example.com"},
    {"id": 4, "username": "alice_2", "email": "fourth@example.com"},
]


def users(url: str) -> list[Any]:
    """The users as the service keeps them."""
    columns = "id, username, email, age, is_admin, is_active, created_at, updated_at, hashed_password"
    times = {name: Timestamp() for name in ("created_at", "updated_at")}
    booleans = {name: sa.Boolean() for name in ("is_admin", "is_active")}
    with connected(url) as connection:
        statement = sa.text(f"SELECT {columns} FROM users ORDER BY id").columns(**times, **booleans)
        return [dict(row._mapping) for row in connection.execute(statement)]


def next_id(url: str) -> int:
    """The id of a user that is made now."""
    done = command(
        "create-admin", "--username", "later", "--email", "l@example.com", "--password-stdin", stdin=PASSWORD, url=url
    )
    assert done.returncode == 0, done.stderr
    return int(next(user["id"] for user in users(url) if user["username"] == "later"))


class TestAdopt:
    """R21."""

    @pytest.mark.parametrize("revision", [None, "0001", "3f2a91c07d11"])
    def test_keeps_every_user_id_hash_and_time(self, empty_url: str, revision: str | None) -> None:
        """R21."""
        tutorial.make(empty_url, USERS, revision=revision)
        done = command("adopt", url=empty_url)
        assert (done.returncode, done.stdout, done.stderr) == (0, "3 users are adopted\n", "")
        usual = {"age": None, "is_admin": False, "is_active": True, "created_at": CREATED, "updated_at": None}
        assert users(empty_url) == [usual | {"hashed_password": HASH} | user for user in USERS]
        with connected(empty_url) as connection:
            told = connection.execute(sa.text("SELECT name, actor_id, details FROM events")).all()
        assert told == [("adopted", 0, '{"users":3,"renamed":0,"command":"adopt"}')]
        assert command("migrate", url=empty_url).stdout.endswith("already\n")
        assert next_id(empty_url) == 8

    def test_its_users_log_in(self, empty_url: str) -> None:
        """R21."""
        tutorial.make(empty_url, USERS)
        assert command("adopt", url=empty_url).returncode == 0
        with serving(empty_url) as server, server.client() as http:
            for name, status in [("ALICE_1", 200), ("bob", 401), ("admin@example.com", 200)]:
                answer = http.post("/token", data={"username": name, "password": PASSWORD})
                assert answer.status_code == status
            listed = http.get("/users", headers=bearer(answer.json()["access_token"])).json()
        assert [user["id"] for user in listed] == [1, 3, 7]

    def test_ids_of_deleted_users_do_not_come_again(self, empty_url: str) -> None:
        gone = {"id": 9, "username": "gone", "email": "gone@example.com"}
        tutorial.make(empty_url, [*USERS, gone], counting=True)
        with connected(empty_url) as connection:
            if empty_url.startswith("postgresql"):  # which counts those that it numbers itself
                connection.execute(sa.text("SELECT setval('users_id_seq', 9)"))
            connection.execute(sa.text("DELETE FROM users WHERE id = 9"))
        assert command("adopt", url=empty_url).returncode == 0
        assert next_id(empty_url) == 10

    @ON_SQLITE
    def test_null_flags_are_off_and_the_operator_is_told_that_there_is_no_admin(self, empty_url: str) -> None:
        tutorial.make(empty_url, [USERS[1] | {"is_admin": None, "is_active": None}])
        done = command("adopt", url=empty_url)
        assert "create-admin" in done.stdout
        [user] = users(empty_url)
        assert (user["is_admin"], user["is_active"]) == (False, False)

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("zone", "kept"), [("UTC", CREATED), ("Europe/Berlin", datetime(2024, 2, 29, 11, 30, 45, tzinfo=UTC))]
    )
    def test_times_without_a_zone_are_of_the_one_that_is_named(self, empty_url: str, zone: str, kept: datetime) -> None:
        tutorial.make(empty_url, USERS[:1])
        assert command("adopt", "--timezone", zone, url=empty_url).returncode == 0
        assert users(empty_url)[0]["created_at"] == kept

    @ON_SQLITE
    def test_unknown_zone_is_wrong_usage(self, empty_url: str) -> None:
        done = command("adopt", "--timezone", "Nowhere/Land", url=empty_url)
        assert done.returncode == 2
        assert "Nowhere/Land" in done.stderr

    def test_old_table_stays_if_there_is_more_in_it(self, empty_url: str) -> None:
        metadata, table = tutorial.tables(sa.Column("nickname", sa.String(20)))
        with connected(empty_url) as connection:
            metadata.create_all(connection)
        tutorial.insert(empty_url, table, [user | {"nickname": "Al"} for user in USERS])
        done = command("adopt", url=empty_url)
        assert "users_before_adopt" in done.stdout
        with connected(empty_url) as connection:
            kept = connection.execute(sa.text("SELECT id, nickname FROM users_before_adopt ORDER BY id")).all()
        assert kept == [(1, "Al"), (3, "Al"), (7, "Al")]
        assert [user["id"] for user in users(empty_url)] == [1, 3, 7]


class TestBeside:
    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
    def test_user_committed_before_it_has_the_table_is_adopted(self, empty_url: str) -> None:
        """R21: also where a transaction sees, by the server's default, only what was so when it began."""
        tutorial.make(empty_url, USERS)
        _, table = tutorial.tables()
        carol = {"id": 9, "username": "carol", "email": "carol@example.com"}

        def commit_one_more(statement: str) -> None:
            if statement.startswith("LOCK TABLE users"):
                tutorial.insert(empty_url, table, [carol])

        with watched(before=commit_one_more):
            done = command("adopt", url=serializable(empty_url))
        assert (done.returncode, done.stdout) == (0, "4 users are adopted\n"), done
        assert [user["id"] for user in users(empty_url)] == [1, 3, 7, 9]


class TestRefused:
    """R21: names that cannot be taken over are told by id with what to do, and nothing is changed."""

    def test_collisions_change_nothing_unless_they_may_be_renamed(self, empty_url: str) -> None:
        """R21."""
        tutorial.make(empty_url, COLLIDING)
        before = everything(empty_url)
        done = command("adopt", url=empty_url)
        assert done.returncode == 1
        *told, last = done.stderr.splitlines()
        assert "nothing is changed" in last
        assert [line.partition(":")[0] for line in told] == ["id 2", "id 3"]
        assert all("UPDATE users SET" in line and "--rename-collisions" in line for line in told)
        assert command("adopt", "--rename-collisions", "--dry-run", url=empty_url).returncode == 0
        assert everything(empty_url) == before
        renamed = command("adopt", "--rename-collisions", url=empty_url)
        assert renamed.returncode == 0
        assert "id 2: username is ALICE_2_1" in renamed.stdout
        names = [(user["username"], user["email"]) for user in users(empty_url)]
        assert names == [
            ("alice", "alice@example.com"),
            ("ALICE_2_1", "other@example.com"),
            ("bob", "Alice+3@example.com"),
            ("alice_2", "fourth@example.com"),
        ]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("username", "a" * 21),
            ("username", "anna-lena"),
            ("username", "al"),
            ("email", "alice"),
            ("email", "alice@localhost"),
            ("age", 121),
            ("hashed_password", PASSWORD),
        ],
    )
    @ON_SQLITE
    def test_value_that_breaks_a_rule(self, empty_url: str, field: str, value: Any) -> None:
        tutorial.make(empty_url, [*USERS, {"id": 8, "username": "carol", "email": "c@example.com", field: value}])
        before = everything(empty_url)
        done = command("adopt", "--rename-collisions", url=empty_url)
        assert done.returncode == 1
        told, last = done.stderr.splitlines()
        assert told.startswith(f"id 8: {field}")
        assert f"UPDATE users SET {field} = " in told
        assert last == "error: 1 of 4 users cannot be taken over; nothing is changed"
        assert PASSWORD not in done.stderr
        assert everything(empty_url) == before

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("statements", "word"),
        [
            (["DROP TABLE users"], "no table users"),
            (["ALTER TABLE users RENAME COLUMN hashed_password TO secret"], "no hashed_password"),
            (["CREATE TABLE posts (id INTEGER, author INTEGER REFERENCES users (id))"], "posts"),
            (["CREATE TABLE login_sessions (id INTEGER)"], "login_sessions"),
        ],
    )
    def test_what_is_no_database_of_the_tutorial(self, empty_url: str, statements: list[str], word: str) -> None:
        tutorial.make(empty_url, USERS)
        with connected(empty_url) as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
        before = everything(empty_url)
        assert word in refused_to_start(command("adopt", url=empty_url))
        assert everything(empty_url) == before

    def test_the_services_own_is_left_alone(self, url: str) -> None:
        before = everything(url)
        assert "own already" in refused_to_start(command("adopt", url=url))
        assert everything(url) == before


class TestInterrupted:
    """R21: whatever stops it, nobody is lost, and the next run succeeds."""

    @pytest.mark.parametrize("at", ["CREATE TABLE login_sessions", "INSERT INTO users", "DROP TABLE users_before"])
    def test_ctrl_c_leaves_all_users(self, empty_url: str, at: str) -> None:
        """R21."""
        tutorial.make(empty_url, USERS)
        before = everything(empty_url)
        with failing_at(at):
            assert command("adopt", url=empty_url).returncode != 0
        if at != "DROP TABLE users_before" or not empty_url.startswith("mysql"):
            assert everything(empty_url) == before
        done = command("adopt", url=empty_url)
        assert (done.returncode, done.stdout) == (0, "3 users are adopted\n")
        assert [user["id"] for user in users(empty_url)] == [1, 3, 7]

    @ON_MYSQL
    @pytest.mark.parametrize("migrated", [False, True])
    def test_killed_on_mysql_it_is_put_back_and_done_again(self, empty_url: str, migrated: bool) -> None:
        """R21: this is what a killed process leaves, where each change of a table is committed."""
        tutorial.make(empty_url, USERS)
        with connected(empty_url) as connection:
            aside = "users TO users_before_adopt, alembic_version TO alembic_version_before_adopt"
            connection.execute(sa.text(f"RENAME TABLE {aside}"))
        if migrated:
            assert command("migrate", url=empty_url).returncode == 0
        assert "without --dry-run" in refused_to_start(command("adopt", "--dry-run", url=empty_url))
        assert command("adopt", url=empty_url).stdout == "3 users are adopted\n"
        assert [user["id"] for user in users(empty_url)] == [1, 3, 7]
        with connected(empty_url) as connection:
            assert not [name for name in sa.inspect(connection).get_table_names() if "before" in name]

    @ON_MYSQL
    def test_users_made_since_are_not_lost(self, empty_url: str) -> None:
        """R21."""
        tutorial.make(empty_url, USERS)
        with connected(empty_url) as connection:
            aside = "users TO users_before_adopt, alembic_version TO alembic_version_before_adopt"
            connection.execute(sa.text(f"RENAME TABLE {aside}"))
        assert command("migrate", url=empty_url).returncode == 0
        assert next_id(empty_url) == 1
        before = everything(empty_url)
        assert "users_before_adopt" in refused_to_start(command("adopt", url=empty_url))
        assert everything(empty_url) == before
