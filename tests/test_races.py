"""Requests that meet each other: several processes, really parallel requests."""

import itertools
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import bcrypt
import pytest
import sqlalchemy as sa

from tests.service import (
    PASSWORD,
    ROOT,
    Api,
    Call,
    Reply,
    at_once,
    environment,
    new_database,
    run,
    serving,
    sync_engine,
)


class Snapshot:
    """The rows of all tables, to be put back."""

    def __init__(self, api: Api) -> None:
        self._engine = api.server.engine
        metadata = sa.MetaData()
        with self._engine.connect() as connection:
            metadata.reflect(connection)
            self._tables = metadata.sorted_tables
            self._rows = [[dict(row) for row in connection.execute(sa.select(t)).mappings()] for t in self._tables]

    def restore(self) -> None:
        with self._engine.begin() as connection:
            for table in reversed(self._tables):
                connection.execute(sa.delete(table))
            for table, rows in zip(self._tables, self._rows, strict=True):
                if rows:
                    connection.execute(sa.insert(table), rows)


class TestLastAdmin:
    """S13."""

    ROUNDS = 60

    def test_one_active_admin_remains_whatever_two_admins_do_to_each_other(self, crowded: Api) -> None:
        """S13."""
        pair = [crowded.admin, crowded.new_actor("second", is_admin=True)]
        before = Snapshot(crowded)
        ways = itertools.cycle(itertools.product(["demote", "deactivate", "delete"], repeat=2))
        succeeded = 0
        for number, chosen in zip(range(self.ROUNDS), ways, strict=False):
            # The other one, and in every third round oneself too.
            both = [self._lose(way, me.token, it.id) for way, me, it in zip(chosen, pair, reversed(pair), strict=True)]
            if number % 3 == 0:
                both += [self._lose(way, me.token, me.id) for way, me in zip(chosen, pair, strict=True)]
            replies = at_once(crowded.server, both)
            left = crowded.sql("SELECT username FROM users WHERE is_admin = true AND is_active = true")
            assert len(left) == 1, (number, chosen, replies, left)
            assert {reply.status for reply in replies} <= {200, 400, 401, 403, 404}, replies
            succeeded += sum(reply.status == 200 for reply in replies)
            before.restore()
        assert succeeded >= self.ROUNDS

    @staticmethod
    def _lose(way: str, token: str, user_id: int) -> Call:
        if way == "delete":
            return Call("DELETE", f"/users/{user_id}", token)
        change = {"is_admin": False} if way == "demote" else {"is_active": False}
        return Call("PUT", f"/users/{user_id}", token, json=change)


class TestTakenNames:
    """S14."""

    def test_of_parallel_creates_with_one_username_one_succeeds(self, crowded: Api) -> None:
        """S14."""
        names = [case("alice") for _ in range(20) for case in (str.lower, str.upper)]
        replies = self._create(crowded, [(name, f"user{number}@example.com") for number, name in enumerate(names)])
        self._assert_one_made(crowded, replies, "Username already registered")

    def test_of_parallel_creates_with_one_email_one_succeeds(self, crowded: Api) -> None:
        """S14."""
        emails = [case("alice@example.com") for _ in range(20) for case in (str.lower, str.upper)]
        replies = self._create(crowded, [(f"user{number}", email) for number, email in enumerate(emails)])
        self._assert_one_made(crowded, replies, "Email already registered")

    def test_of_parallel_renames_to_one_username_one_succeeds(self, crowded: Api) -> None:
        """S14."""
        users = [crowded.new_user(f"user{number}") for number in range(20)]
        token = crowded.admin.token
        calls = [Call("PUT", f"/users/{user['id']}", token, json={"username": "taken"}) for user in users]
        replies = at_once(crowded.server, calls)
        assert Counter(reply.status for reply in replies) == {200: 1, 400: 19}, replies
        assert crowded.sql("SELECT COUNT(*) FROM users WHERE username = 'taken'")[0][0] == 1

    @staticmethod
    def _create(api: Api, names: list[tuple[str, str]]) -> list[Reply]:
        bodies = [{"username": username, "email": email, "password": PASSWORD} for username, email in names]
        return at_once(api.server, [Call("POST", "/users", api.admin.token, json=body) for body in bodies])

    @staticmethod
    def _assert_one_made(api: Api, replies: list[Reply], words: str) -> None:
        outcomes = Counter((reply.status, reply.body.get("detail")) for reply in replies)
        assert outcomes == {(201, None): 1, (400, words): 39}
        assert api.sql("SELECT COUNT(*) FROM users")[0][0] == 2


class TestParallelChanges:
    """R5."""

    def test_no_change_of_one_user_is_lost(self, crowded: Api) -> None:
        """R5."""
        user = crowded.new_user()
        before = self._version(crowded, user)
        calls = [
            Call("PUT", f"/users/{user['id']}", crowded.admin.token, json={"age": age, "username": f"alice{age}"})
            for age in range(1, 41)
        ]
        replies = at_once(crowded.server, calls)
        assert Counter(reply.status for reply in replies) == {200: 40}, replies
        # Each of them answered its own change, and the row counts them all.
        assert sorted(reply.body["age"] for reply in replies) == list(range(1, 41))
        assert self._version(crowded, user) == before + 40
        now = crowded.admin.get(f"/users/{user['id']}").json()
        assert now in [reply.body for reply in replies]
        assert now["username"] == f"alice{now['age']}"

    def test_of_parallel_changes_with_one_etag_one_succeeds(self, crowded: Api) -> None:
        """R5."""
        user = crowded.new_user()
        before = self._version(crowded, user)
        etag = crowded.admin.get(f"/users/{user['id']}").headers["ETag"]
        calls = [
            Call("PUT", f"/users/{user['id']}", crowded.admin.token, json={"age": age}, headers={"If-Match": etag})
            for age in range(1, 41)
        ]
        replies = at_once(crowded.server, calls)
        assert Counter(reply.status for reply in replies) == {200: 1, 412: 39}, replies
        assert self._version(crowded, user) == before + 1
        assert crowded.admin.get(f"/users/{user['id']}").json() in [reply.body for reply in replies]

    def test_changes_of_different_fields_all_stay(self, crowded: Api) -> None:
        """R5."""
        users = [crowded.new_user(f"user{number}") for number in range(8)]
        changes: list[dict[str, Any]] = [{"age": 33}, {"is_admin": True}, {"password": "Another-Horse-8"}]
        calls = [
            Call("PUT", f"/users/{user['id']}", crowded.admin.token, json={"email": f"new_{user['email']}"} | change)
            for user in users
            for change in changes
        ]
        replies = at_once(crowded.server, calls)
        assert {reply.status for reply in replies} == {200}, replies
        for user in users:
            now = crowded.admin.get(f"/users/{user['id']}").json()
            assert (now["age"], now["is_admin"], now["email"]) == (33, True, f"new_{user['email']}")
            crowded.token(user["username"], "Another-Horse-8")

    @staticmethod
    def _version(api: Api, user: dict[str, Any]) -> int:
        version: int = api.sql("SELECT version FROM users WHERE id = :id", id=user["id"])[0][0]
        return version


class TestLoginDuringPasswordChange:
    """S1."""

    ROUNDS = 15
    LOGINS = 8

    @pytest.mark.parametrize("change", ["password", "is_active"])
    def test_no_session_of_the_old_password_survives(self, crowded: Api, change: str) -> None:
        """S1."""
        token = crowded.admin.token
        raced = refused = 0
        for number in range(4 * self.ROUNDS):
            if number >= self.ROUNDS and raced and refused:
                break
            user = crowded.new_user(f"user{number}")
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            body = {"password": f"New-Donkey-{number}"} if change == "password" else {"is_active": False}
            # The change leaves somewhere among the logins, another place each round; behind ever more of them, if it
            # overtook them all so far.
            logins = self.LOGINS * (1 + number // self.ROUNDS)
            calls = [login] * logins
            place = number % (logins + 1) if number < self.ROUNDS else logins
            calls.insert(place, Call("PUT", f"/users/{user['id']}", token, json=body))
            replies = at_once(crowded.server, calls)
            changed = [reply for reply in replies if "access_token" not in reply.body and reply.status == 200]
            assert len(changed) == 1, replies
            assert {reply.status for reply in replies} <= {200, 401, 429}, replies
            tokens = [reply.body["access_token"] for reply in replies if "access_token" in reply.body]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)
            assert not crowded.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=user["id"])
            raced += len(tokens)
            refused += logins - len(tokens)
        assert raced, "no login came before the change: nothing was tried"
        assert refused, "no login came after the change: nothing was tried"

    def test_only_the_session_that_changed_the_password_survives(self, crowded: Api) -> None:
        """S1."""
        for number in range(self.ROUNDS):
            owner = crowded.new_actor(f"user{number}")
            login = Call("POST", "/token", form={"username": f"user{number}", "password": PASSWORD})
            change = {"password": f"New-Donkey-{number}", "current_password": PASSWORD}
            calls = [*[login] * 4, Call("PUT", owner.path, owner.token, json=change), *[login] * 4]
            replies = at_once(crowded.server, calls)
            assert replies[4].status == 200, replies[4]
            tokens = [
                reply.body["access_token"] for reply in replies if reply.status == 200 and reply is not replies[4]
            ]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)
            assert owner.get("/users/me").status_code == 200
            assert len(crowded.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=owner.id)) == 1

    def test_no_token_works_for_a_user_deleted_meanwhile(self, crowded: Api) -> None:
        """S1."""
        for number in range(self.ROUNDS):
            user = crowded.new_user(f"user{number}")
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            calls = [*[login] * 4, Call("DELETE", f"/users/{user['id']}", crowded.admin.token), *[login] * 4]
            replies = at_once(crowded.server, calls)
            assert replies[4].status == 200, replies[4]
            assert {reply.status for reply in replies} <= {200, 401, 429}, replies
            tokens = [reply.body["access_token"] for reply in replies if "access_token" in reply.body]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)


class TestParallelLogins:
    def test_logins_that_meet_while_one_renews_the_hash_all_succeed(self, crowded: Api) -> None:
        """S6."""
        for number in range(5):
            user = crowded.new_user(f"user{number}")
            outdated = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
            crowded.sql("UPDATE users SET hashed_password = :hash WHERE id = :id", hash=outdated, id=user["id"])
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            replies = at_once(crowded.server, [login] * 8)
            assert [reply.status for reply in replies] == [200] * 8, replies
            renewed = crowded.sql("SELECT hashed_password FROM users WHERE id = :id", id=user["id"])[0][0]
            assert renewed.startswith("$2b$04$")


class TestStartingTogether:
    """R10."""

    def test_six_migrate_one_empty_database(self, empty_url: str) -> None:
        """R10."""
        # All is imported before any of them begins, so that they really meet.
        program = (
            "import alembic.command, aiomysql, psycopg, userapi.models; from userapi.cli import cli;"
            " print('ready', flush=True); input(); cli(['migrate'])"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment(empty_url),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 6, outputs
        assert sum("The schema went from nothing to" in output for output in outputs) == 1, outputs
        assert sum("already" in output for output in outputs) == 5, outputs
        engine = sync_engine(empty_url)
        with engine.connect() as connection:
            assert len(connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()) == 1
            assert connection.execute(sa.text("SELECT COUNT(*) FROM users")).scalar() == 0
        engine.dispose()
        checked = run("alembic", "check", url=empty_url)
        assert checked.returncode == 0, checked.stderr

    def test_six_serve_one_new_sqlite_file(self) -> None:
        """R10."""
        with new_database("sqlite") as url, ExitStack() as stack, ThreadPoolExecutor(6) as pool:
            starting = [serving(url, SECRET_KEY="") for _ in range(6)]
            servers = list(pool.map(stack.enter_context, starting))
            outputs = [server.text for server in servers]
            passwords = re.findall(r"password: (\S+) +\(shown this once\)", "".join(outputs))
            assert len(passwords) == 1, outputs
            assert sum("The first admin is made" in output for output in outputs) == 1, outputs
            assert not any("Traceback" in output for output in outputs), outputs
            login = Call("POST", "/token", form={"username": "admin", "password": passwords[0]})
            (token,) = {at_once(servers[0], [login])[0].body["access_token"]}
            for server in servers:  # all of them found one signing key
                assert at_once(server, [Call("GET", "/users/me", token)])[0].status == 200
            engine = sync_engine(url)
            with engine.connect() as connection:
                assert connection.execute(sa.text("SELECT COUNT(*) FROM users")).scalar() == 1
            engine.dispose()
