"""The log: named events."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.support.client import Api
from tests.support.databases import new_database
from tests.support.insides import Announcement, Announcements, Database, announce, now
from tests.support.log_lines import Request
from tests.support.logins import add_sessions, change, claims_of, id_of, refresh
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.schema import migrate


class TestEvents:
    """Named, with what an auditor asks for."""

    def login(self, api: Api, username: str, password: str, **headers: str) -> Request:
        return Request(api, "POST", "/token", data={"username": username, "password": password}, headers=headers)

    def test_login(self, logged: Api) -> None:
        alice = logged.new_user("alice")
        event = self.login(logged, "alice", PASSWORD).events["login_succeeded"]
        assert (event["level"], str(event["user_id"]), event["ip"]) == ("INFO", str(alice["id"]), "127.0.0.1")
        rows = logged.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=alice["id"])
        assert [str(row[0]) for row in rows] == [str(event["session_id"])]

    def test_failed_login(self, logged: Api) -> None:
        """S7, S35: the log may tell what the answer does not, but not what was typed: it may be a password."""
        alice = logged.new_user("alice")
        for username, user_id in (("alice", str(alice["id"])), (f"u{secrets.token_hex(6)}", None)):
            done = self.login(logged, username, NEW_PASSWORD)
            assert done.events.keys() == {"login_failed"}
            event = done.events["login_failed"]
            assert (event.get("user_id") and str(event["user_id"]), event["ip"]) == (user_id, "127.0.0.1")
            assert username not in "".join(done.raw)

    def test_throttled_login(self, logged: Api) -> None:
        """S6, S35."""
        known, stranger = f"u{secrets.token_hex(6)}", f"u{secrets.token_hex(6)}"
        user = logged.new_user(known)
        for name, user_id in ((known, str(user["id"])), (stranger, None)):
            for _ in range(5):
                self.login(logged, name, NEW_PASSWORD)
            done = self.login(logged, name, NEW_PASSWORD)
            assert done.answer.status_code == 429
            assert done.events.keys() == {"login_throttled"}
            event = done.events["login_throttled"]
            assert (event.get("user_id") and str(event["user_id"]), event["ip"]) == (user_id, "127.0.0.1")
            assert name not in "".join(done.raw)

    def test_every_event_tells_who_whom_in_which_session_and_where(self, logged: Api) -> None:
        """S35."""
        address = {"X-Forwarded-For": "203.0.113.7"}
        alice = logged.new_actor("alice")
        pair = logged.grant("alice")
        admin, own = (claims_of(token)["sid"] for token in (logged.admin.token, alice.token))
        bob = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
        wrong = {"email": "new@example.com", "current_password": NEW_PASSWORD}
        password = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        for actor, method, path, body, named, session_id in (
            (logged.admin, "POST", "/users", bob, {"user_created"}, admin),
            (logged.admin, "PATCH", alice.path, {"is_admin": True, "age": 9}, {"user_changed", "admin_granted"}, admin),
            (alice, "PATCH", "/users/me", wrong, {"login_failed"}, own),
            (alice, "DELETE", f"/users/me/sessions/{id_of(pair)}", None, {"session_revoked"}, None),
            (alice, "PATCH", "/users/me", password, {"password_changed"}, own),
            (logged.admin, "DELETE", alice.path, None, {"user_deleted", "session_revoked"}, admin),
        ):
            done = Request(logged, method, path, actor, json=body, headers=address)
            assert done.events.keys() == named
            for event in done.events.values():
                assert str(event["by"]) == str(actor.id)
                assert str(event["session_id"]) == str(session_id or id_of(pair))
                assert (event["ip"], event["request_id"]) == ("203.0.113.7", done.id)
                assert event["user_id"]
            assert done.line["ip"] == "203.0.113.7"

    def test_request_without_a_caller_is_by_nobody(self, logged: Api) -> None:
        """S35: not by whoever made the one before on the connection."""
        logged.new_user("alice")
        logged.admin.get("/users/me")
        event = self.login(logged, "alice", NEW_PASSWORD).events["login_failed"]
        assert not {"by", "session_id"} & event.keys()

    def test_user_made_and_deleted(self, logged: Api) -> None:
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        made = Request(logged, "POST", "/users", logged.admin, json=body)
        user_id = made.answer.json()["id"]
        assert str(made.events["user_created"]["user_id"]) == str(user_id)
        gone = Request(logged, "DELETE", f"/users/{user_id}", logged.admin)
        assert str(gone.events["user_deleted"]["user_id"]) == str(user_id)

    def test_password_changed(self, logged: Api) -> None:
        alice = logged.new_actor("alice")
        logged.token("alice")
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        done = Request(logged, "PATCH", "/users/me", alice, json=body)
        assert done.events.keys() == {"password_changed", "session_revoked"}
        event = done.events["password_changed"]
        assert (str(event["user_id"]), str(event["by"])) == (str(alice.id), str(alice.id))

    def test_admin_granted(self, logged: Api) -> None:
        alice = logged.new_user("alice")
        done = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json={"is_admin": True})
        event = done.events["admin_granted"]
        assert (str(event["user_id"]), str(event["by"])) == (str(alice["id"]), str(logged.admin.id))
        again = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json={"is_admin": True})
        assert again.events == {}

    @pytest.mark.parametrize("how", ["revoke", "end one", "end all", "deactivate"])
    def test_session_revoked(self, logged: Api, how: str) -> None:
        alice = logged.new_actor("alice")
        session_id = logged.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=alice.id)[0][0]
        done = {
            "revoke": lambda: Request(logged, "POST", "/revoke", data={"token": alice.token}),
            "end one": lambda: Request(logged, "DELETE", f"/users/me/sessions/{session_id}", alice),
            "end all": lambda: Request(logged, "DELETE", "/users/me/sessions", alice),
            "deactivate": lambda: Request(logged, "PATCH", alice.path, logged.admin, json={"is_active": False}),
        }[how]()
        event = done.events["session_revoked"]
        assert str(event["user_id"]) == str(alice.id)
        assert str(event.get("sessions") or event["session_id"]) == str(session_id)
        reasons = {"revoke": "logged out", "deactivate": "user deactivated"}
        assert event["reason"] == reasons.get(how, "ended by its user")

    def test_sessions_that_end_are_listed(self, logged: Api) -> None:
        """S39: those that are too many, those that a deleted user leaves."""
        alice = logged.new_actor("alice")
        own = claims_of(alice.token)["sid"]
        add_sessions(logged, alice.id, 100)
        ids = [str(row.id) for row in logged.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=alice.id)]
        assert ids[0] == str(own)
        done = self.login(logged, "alice", PASSWORD)
        event = done.events["session_revoked"]
        assert (str(event["user_id"]), str(event["sessions"])) == (str(alice.id), " ".join(ids[:2]))
        assert event["reason"] == "too many sessions"
        ids = [*ids[2:], str(done.events["login_succeeded"]["session_id"])]
        event = Request(logged, "DELETE", alice.path, logged.admin).events["session_revoked"]
        assert (event["sessions"].split(), event["reason"]) == (ids, "user deleted")

    def test_expired_sessions_are_listed(self, logged: Api) -> None:
        logged.new_user("alice")
        pair = logged.grant("alice")
        change(logged, pair, expires_at=now() - timedelta(hours=25))
        event = self.login(logged, "alice", PASSWORD).events["sessions_expired"]
        assert str(event["sessions"]) == str(id_of(pair))

    def test_reused_refresh_token(self, logged: Api) -> None:
        """S20, S27."""
        logged.new_user("alice")
        pair = logged.grant("alice")
        second = refresh(logged, pair["refresh_token"]).json()
        refresh(logged, second["refresh_token"])
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        change(logged, pair, ip="192.0.2.1")
        done = Request(logged, "POST", "/token", data=form, headers={"X-Forwarded-For": "192.0.2.2"})
        assert done.answer.status_code == 400
        event = done.events["session_revoked"]
        assert "again" in event["reason"]
        reused = done.events["refresh_reused"]
        assert (reused["ip"], reused["session_ip"]) == ("192.0.2.2", "192.0.2.1")
        session = claims_of(pair["refresh_token"])
        assert (str(event["user_id"]), str(event["session_id"])) == (session["sub"], str(session["sid"]))

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"password": NEW_PASSWORD, "username": "admin", "is_admin": True}, 400),
            ({"password": "Xx-alice-77", "is_admin": True}, 422),
        ],
    )
    def test_what_was_refused_is_no_event(self, logged: Api, body: dict[str, Any], status: int) -> None:
        alice = logged.new_user("alice")
        done = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json=body)
        assert done.answer.status_code == status
        assert done.events == {}


@dataclass(frozen=True)
class Happened(Announcement):
    """Something that a test announces."""

    what: str


def orphan(db: Session) -> None:
    """Make a row that refers to nothing, which the commit finds out."""
    announce(db, Happened("never"))
    db.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    columns = "user_id, generation, created_at, rotated_at, expires_at"
    db.connection().exec_driver_sql(
        f"INSERT INTO login_sessions ({columns}) VALUES (999, 1, '2025-01-01', '2025-01-01', '2025-01-01')"
    )


def well(db: Session) -> None:
    announce(db, Happened("once"))


class TestAnnouncements:
    """What rules announce reaches who listens in the unit, and after its commit; an event not committed is none."""

    def test_after_commit_hears_only_what_is_committed(self, empty_sqlite: str) -> None:
        heard: list[str] = []
        announcements = Announcements()
        announcements.after_commit(Happened, lambda happened: heard.append(happened.what))

        async def both() -> None:
            database = Database(empty_sqlite, announcements)
            with pytest.raises(sa.exc.IntegrityError):
                await database.write(orphan)  # the commit itself fails
            await database.write(well)
            await database.close()

        asyncio.run(both())
        assert heard == ["once"]

    def test_listener_inside_writes_with_the_unit_and_is_rolled_back_with_it(self, empty_sqlite: str) -> None:
        announcements = Announcements()
        announcements.inside_unit(Happened, lambda db, happened: keep(db, happened.what))

        def keep(db: Session, what: str) -> None:
            db.connection().exec_driver_sql("INSERT INTO heard (what) VALUES (?)", (what,))

        def kept(connection: sa.Connection) -> list[str]:
            return list(connection.exec_driver_sql("SELECT what FROM heard").scalars())

        async def both() -> list[str]:
            database = Database(empty_sqlite, announcements)
            await database.write(lambda db: db.connection().exec_driver_sql("CREATE TABLE heard (what TEXT)") and None)
            with pytest.raises(sa.exc.IntegrityError):
                await database.write(orphan)
            await database.write(well)
            found = await database.read(kept)
            await database.close()
            return found

        assert asyncio.run(both()) == ["once"]

    def test_failing_listener_undoes_the_change_inside_and_not_after_the_commit(self, empty_sqlite: str) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError

        async def outcome(announcements: Announcements) -> bool:
            database = Database(empty_sqlite, announcements)
            try:
                await database.write(well)
            except RuntimeError:
                return False
            finally:
                await database.close()
            return True

        inside, after = Announcements(), Announcements()
        inside.inside_unit(Happened, fail)
        after.after_commit(Happened, fail)
        assert not asyncio.run(outcome(inside))
        assert asyncio.run(outcome(after))


@pytest.fixture
def empty_sqlite() -> Iterator[str]:
    with new_database("sqlite") as url:
        migrate(url)
        yield url
