"""Events: what happens is written down, with the change that it is or not at all."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.support.client import Actor, Api, client_of
from tests.support.commands import command
from tests.support.crowd import Call, Crowd, Watch
from tests.support.databases import ON_SQLITE
from tests.support.events import events, named
from tests.support.insides import Database, event_rules, now
from tests.support.logins import add_sessions, id_of, refresh
from tests.support.people import NEW_PASSWORD, PASSWORD, bearer
from tests.support.processes import wait_until
from tests.support.servers import Shared
from tests.support.users import instant


def names(api: Api, **query: Any) -> set[str]:
    return {event["name"] for event in events(api.admin, **query)}


class TestOfUsers:
    """S35."""

    def test_user_created_tells_by_whom_and_from_where(self, api: Api) -> None:
        headers = {"User-Agent": "a test", "X-Request-ID": "request-7"}
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        made = api.admin.post("/users", json=body, headers=headers).json()
        event = named(api, "user_created")
        assert (event["user_id"], event["actor_id"]) == (made["id"], api.admin.id)
        assert (event["address"], event["user_agent"], event["request_id"]) == ("127.0.0.1", "a test", "request-7")
        assert event["session_id"] == named(api, "login_succeeded", user_id=api.admin.id)["session_id"]
        assert abs((instant(event["at"]) - instant(made["created_at"])).total_seconds()) < 5

    def test_user_changed_tells_old_and_new_values(self, api: Api, alice: Actor) -> None:
        api.admin.patch(alice.path, json={"email": "new@example.com", "age": None})
        event = named(api, "user_changed", user_id=alice.id)
        assert event["changes"] == {
            "email": {"old": "alice@example.com", "new": "new@example.com"},
            "age": {"old": 30, "new": None},
        }

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ({"is_admin": True}, "admin_granted"),
            ({"is_admin": False}, "admin_revoked"),
            ({"is_active": False}, "user_deactivated"),
            ({"is_active": True}, "user_activated"),
        ],
    )
    def test_switches_have_events_of_their_own(self, api: Api, body: dict[str, bool], name: str) -> None:
        alice = api.new_user("alice")
        [(field, value)] = body.items()
        api.admin.patch(f"/users/{alice['id']}", json={field: not value})
        api.admin.patch(f"/users/{alice['id']}", json=body)
        event = named(api, name, user_id=alice["id"])
        assert (event["actor_id"], event["changes"]) == (api.admin.id, None)

    def test_new_password_is_told_and_not_shown(self, api: Api, alice: Actor) -> None:
        """S11."""
        alice.patch("/users/me", json={"password": NEW_PASSWORD, "current_password": PASSWORD})
        event = named(api, "password_changed", user_id=alice.id)
        assert (event["actor_id"], event["changes"]) == (alice.id, None)
        rows = "".join(str(row) for row in api.sql("SELECT * FROM events"))
        assert not [secret for secret in (PASSWORD, NEW_PASSWORD, "$2b$", "eyJ") if secret in rows]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"username": "admin", "age": 9}, 400),
            ({"password": "Xx-alice-77", "is_admin": True}, 422),
            ({"age": 30}, 200),
        ],
    )
    def test_what_is_refused_or_changes_nothing_leaves_none(
        self, api: Api, alice: Actor, body: dict[str, Any], status: int
    ) -> None:
        before = events(api.admin, user_id=alice.id)
        assert api.admin.patch(alice.path, json=body).status_code == status
        assert events(api.admin, user_id=alice.id) == before

    def test_operators_commands_are_the_operators(self, api: Api) -> None:
        alice = api.new_user("alice")
        url = api.server.url
        assert command("set-password", "alice", "--password-stdin", url=url, stdin=NEW_PASSWORD).returncode == 0
        assert command("create-admin", "--username", "alice", "--promote", url=url).returncode == 0
        assert command("unlock", "alice", url=url).returncode == 0
        done = events(api.admin, actor_id="operator")
        assert [(event["name"], event["user_id"]) for event in done if event["name"] != "user_changed"] == [
            ("login_unlocked", alice["id"]),
            ("admin_granted", alice["id"]),
            ("password_changed", alice["id"]),
        ]
        assert [event["details"]["command"] for event in done][::3] == ["unlock", "set-password"]
        assert {event["address"] for event in done} == {None}

    @pytest.mark.parametrize("hashes", [False, True])
    def test_users_that_come_in_and_go_out_are_told(self, api: Api, tmp_path: Path, hashes: bool) -> None:
        file, flags = tmp_path / "users.csv", ["--with-hashes"] if hashes else []
        file.write_text(f"username,email,password\ncarol,carol@example.com,{PASSWORD}\n")
        assert command("import", str(file), "--dry-run", url=api.server.url).returncode == 0
        assert command("import", str(file), url=api.server.url).returncode == 0
        assert command("export", str(tmp_path / "out.csv"), *flags, url=api.server.url).returncode == 0
        told = [(event["name"], event["details"]) for event in events(api.admin, actor_id="operator")]
        assert told == [
            ("exported", {"with_hashes": hashes, "command": "export"}),
            ("imported", {"created": 1, "changed": 0, "command": "import"}),
        ]

    @ON_SQLITE
    def test_backup_is_told_in_the_copy_too(self, api: Api, tmp_path: Path) -> None:
        copy = tmp_path / "copy.db"
        assert command("backup", str(copy), url=api.server.url).returncode == 0
        assert events(api.admin, actor_id="operator")[0]["name"] == "backed_up"
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT name FROM events ORDER BY id DESC LIMIT 1").fetchone() == ("backed_up",)


class TestOfLogins:
    def test_login_succeeded_is_the_users_in_its_session(self, api: Api, alice: Actor) -> None:
        event = named(api, "login_succeeded", user_id=alice.id)
        [session] = alice.get("/users/me/sessions").json()
        assert (event["actor_id"], event["session_id"]) == (alice.id, session["id"])

    def test_failures_are_counted_by_account_and_address(self, api: Api) -> None:
        """S35: by minute, too, so five failures are two events at most; none of them says what was typed."""
        alice = api.new_user("alice")
        for username in ("alice", "ALICE", "alice", "alice@example.com", "alice", "nobody", "nobody-else"):
            api.http.post("/token", data={"username": username, "password": NEW_PASSWORD})

        def failures(user_id: int | None) -> list[dict[str, Any]]:
            return [event for event in events(api.admin, name="login_failed") if event["user_id"] == user_id]

        wait_until(lambda: sum(event["details"]["count"] for event in failures(alice["id"])) == 5)
        wait_until(lambda: sum(event["details"]["count"] for event in failures(None)) >= 2)  # or of a test before
        for event in [*failures(alice["id"]), *failures(None)]:
            assert (event["address"], event["actor_id"]) == ("127.0.0.1", None)
            assert (instant(event["at"]).second, instant(event["at"]).microsecond) == (0, 0)
        assert len(failures(alice["id"])) <= 2
        assert "nobody" not in "".join(str(row) for row in api.sql("SELECT * FROM events"))

    def test_wrong_current_password_is_a_failure(self, api: Api, alice: Actor) -> None:
        alice.patch("/users/me", json={"email": "new@example.com", "current_password": NEW_PASSWORD})
        assert named(api, "login_failed", user_id=alice.id)["details"] == {"count": 1}

    def test_lock_is_told(self, shared: Shared) -> None:
        """S6."""
        with client_of(shared.service("sqlite", THROTTLE_ENABLED="true")) as api:
            alice = api.new_user("alice")
            for _ in range(5):
                api.http.post("/token", data={"username": "alice", "password": NEW_PASSWORD})
            assert named(api, "login_locked", user_id=alice["id"])["details"] == {"count": 1}

    def test_session_revoked_and_refresh_reused(self, api: Api) -> None:
        """S20."""
        alice = api.new_user("alice")
        pair = api.grant("alice")
        second = refresh(api, pair["refresh_token"]).json()
        refresh(api, second["refresh_token"])
        assert refresh(api, pair["refresh_token"]).status_code == 400
        for name in ("refresh_reused", "session_revoked"):
            event = named(api, name, user_id=alice["id"])
            assert (event["session_id"], event["address"]) == (id_of(pair), "127.0.0.1")

    def test_login_goes_on_where_its_events_cannot_be_written(self, api: Api) -> None:
        """An event never fails a login. It is written when the table is there again."""
        alice = api.new_user("alice")
        add_sessions(api, alice["id"], 100)  # so that the oldest one ends
        api.sql("ALTER TABLE events RENAME TO events_away")
        try:
            token = api.token("alice")
        finally:
            api.sql("ALTER TABLE events_away RENAME TO events")
        assert api.http.get("/users/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert named(api, "login_succeeded", user_id=alice["id"])["actor_id"] == alice["id"]
        assert named(api, "session_revoked", user_id=alice["id"])["details"]["reason"] == "too many sessions"

    def test_change_whose_event_cannot_be_written_does_not_happen(self, api: Api, alice: Actor) -> None:
        api.sql("ALTER TABLE events RENAME TO events_away")
        try:
            with api.server.client() as http:
                headers = bearer(api.admin.token)
                assert http.patch(alice.path, json={"age": 31}, headers=headers).status_code in {500, 503}
        finally:
            api.sql("ALTER TABLE events_away RENAME TO events")
        assert api.admin.get(alice.path).json()["age"] == 30
        assert "user_changed" not in names(api)


class TestDeletion:
    """Deleting a user leaves the events, and nothing of the person in them."""

    def kept(self, api: Api, user_id: int) -> list[Any]:
        where = "(user_id = :id AND (actor_id IS NULL OR actor_id = :id)) OR actor_id = :id"
        said = "address IS NOT NULL OR user_agent IS NOT NULL"
        changed = "user_id = :id AND (changes IS NOT NULL OR details IS NOT NULL)"
        return api.sql(f"SELECT * FROM events WHERE (({where}) AND ({said})) OR ({changed})", id=user_id)

    def test_takes_addresses_and_values_along(self, api: Api, alice: Actor) -> None:
        alice.patch("/users/me", json={"age": 31})
        api.http.post("/token", data={"username": "alice", "password": NEW_PASSWORD})
        named(api, "login_failed", user_id=alice.id)
        assert self.kept(api, alice.id)
        assert alice.delete("/users/me").status_code == 200
        assert not self.kept(api, alice.id)
        left = events(api.admin, user_id=alice.id)
        assert {"user_created", "user_changed", "login_succeeded", "login_failed", "user_deleted"} <= {
            event["name"] for event in left
        }
        assert {event["address"] for event in left if event["actor_id"] == api.admin.id} == {"127.0.0.1"}

    def test_failures_that_were_not_written_yet_come_without_an_address(self, api: Api, alice: Actor) -> None:
        api.http.post("/token", data={"username": "alice", "password": NEW_PASSWORD})
        api.admin.delete(alice.path)
        event = named(api, "login_failed", user_id=alice.id)
        assert not event["address"]

    def test_waits_for_failures_that_are_being_written(self, api: Api, alice: Actor) -> None:
        minute = now().replace(second=0, microsecond=0)
        failure = event_rules.Counted(minute, "login_failed", alice.id, "192.0.2.1")
        deletion = Crowd(api.server, [Call("DELETE", alice.path, api.admin.token)])
        with Session(api.server.engine) as db:
            event_rules.add_counts(db, [(failure, 1)])
            db.flush()
            deletion.send()
            with Watch(api.server) as live:
                most = time.monotonic() + 2  # the service waits for 4 s
                wait_until(lambda: len(live.seconds) > 30 or time.monotonic() > most)
            db.commit()
        assert [reply.status for reply in deletion.replies()] == [200]
        assert named(api, "login_failed", user_id=alice.id)["address"] is None
        assert not self.kept(api, alice.id)

    def test_events_that_are_written_later_come_without_an_address(self, api: Api, alice: Actor) -> None:
        event = {"at": now(), "name": "login_succeeded", "address": "192.0.2.1", "user_agent": "a test"}
        api.admin.delete(alice.path)
        with Session(api.server.engine) as db:
            for user_id in (alice.id, api.admin.id):
                event_rules.write_late(db, event | {"user_id": user_id, "details": None})
            db.commit()
        assert not self.kept(api, alice.id)
        assert "192.0.2.1" in {one["address"] for one in events(api.admin, user_id=api.admin.id)}

    def test_of_many_events_goes_on_beside_the_requests(self, api: Api, alice: Actor) -> None:
        row = {"at": "2026-01-01 00:00:00", "name": "login_succeeded", "u": alice.id, "address": "192.0.2.1"}
        insert = sa.text(
            "INSERT INTO events (at, name, user_id, actor_id, address) VALUES (:at, :name, :u, :u, :address)"
        )
        api.execute(insert, [row] * 1200)
        assert api.admin.delete(alice.path).status_code == 200
        assert self.kept(api, alice.id)
        finish(api)
        assert not self.kept(api, alice.id)
        assert named(api, "user_deleted", user_id=alice.id)["details"] is None


def finish(api: Api) -> None:
    """Do at once what the service does within a minute."""

    async def erased() -> None:
        database = Database(api.server.url)
        while await database.write(event_rules.erase_rest):
            pass
        await database.close()

    asyncio.run(erased())
