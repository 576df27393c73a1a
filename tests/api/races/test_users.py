"""Changes of users that meet each other: several processes, really parallel requests."""

import itertools
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.client import Api, client_of
from tests.support.crowd import Call, Crowd, Reply, at_once
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD
from tests.support.servers import serving
from tests.support.users import changed_meanwhile


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


@pytest.mark.slow
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


@pytest.mark.slow
class TestRevoked:
    """S1: what waits for bcrypt when its caller is revoked is not done."""

    @pytest.mark.parametrize(
        ("how", "refusal"),
        [({"is_active": False}, (401, "session_ended")), ({"is_admin": False}, (403, "not_enough_permissions"))],
        ids=["deactivated", "demoted"],
    )
    def test_admin_makes_and_changes_nobody_any_more(
        self, url: str, how: dict[str, bool], refusal: tuple[int, str]
    ) -> None:
        """S1."""
        with (
            serving(url, BCRYPT_ROUNDS="11", THROTTLE_ENABLED="false", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server,
            client_of(server) as api,
        ):
            evil, victim = api.new_actor("evil", is_admin=True), api.new_user("victim")
            body = {"password": PASSWORD, "is_admin": True}
            names = [f"back{number}" for number in range(12)]
            calls = [
                Call("POST", "/users", evil.token, {**body, "username": name, "email": f"{name}@example.com"})
                for name in names
            ]
            change = {"password": NEW_PASSWORD, "email": "evil2@example.com"}
            calls += [Call("PUT", f"/users/{victim['id']}", evil.token, change)] * 12
            replies = Crowd(server, calls).send().replies()
            first = next(replies)
            assert api.admin.patch(evil.path, json=how).status_code == 200
            told = [first, *replies]
        refused = [reply for reply in told if reply.status >= 400]
        assert {(reply.status, reply.body["code"]) for reply in refused} == {refusal}
        assert len(refused) >= 4

    @pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PATCH", {"age": 9})], ids=["delete", "change"])
    def test_admin_does_nothing_after_waiting_for_a_row(self, api: Api, method: str, body: Any) -> None:
        """S1."""
        evil, victim = api.new_actor("evil", is_admin=True), api.new_user("victim")
        call = Call(method, f"/users/{victim['id']}", evil.token, body)
        revoked = "UPDATE users SET is_active = (id <> :evil) WHERE id IN (:evil, :victim)"
        reply = changed_meanwhile(api, call, revoked, evil=evil.id, victim=victim["id"])
        assert (reply.status, reply.body["code"]) == (401, "session_ended")
        assert api.admin.get(f"/users/{victim['id']}").json()["age"] is None


@pytest.mark.slow
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


@pytest.mark.slow
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

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_of_parallel_changes_with_one_etag_one_succeeds(self, crowded: Api, method: str) -> None:
        """R5, S19."""
        user = crowded.new_user()
        before = self._version(crowded, user)
        etag = crowded.admin.get(f"/users/{user['id']}").headers["ETag"]
        calls = [
            Call(method, f"/users/{user['id']}", crowded.admin.token, json={"age": age}, headers={"If-Match": etag})
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
