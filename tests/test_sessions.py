"""Login sessions seen and ended: /users/{user_id}/sessions."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.logins import Pair, alive, assert_ended, change, id_of, refreshed, row
from tests.service import ADMIN_PASSWORD, ON_SQLITE, PASSWORD, Actor, Api, assert_invalid, assert_refused
from userapi.models import LoginSession, now

NEW_PASSWORD = "Other-Saddle-8"
MISSING = 2**31 - 1
FIELDS = {"id", "created_at", "last_used_at", "expires_at", "user_agent", "ip", "current"}


def sessions_of(actor: Actor, path: str = "/users/me", **query: Any) -> list[dict[str, Any]]:
    answer = actor.get(f"{path}/sessions", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.fixture
def alice(api: Api) -> Actor:
    return api.new_actor("alice")


class TestList:
    def test_tells_when_and_from_where_and_which_is_this_one(self, api: Api, alice: Actor) -> None:
        begun = now()
        pair = api.grant("alice", **{"User-Agent": "Tester/1.0 (tests)"})
        newest, own = sessions_of(alice)
        assert newest.keys() == own.keys() == FIELDS
        assert (newest["id"], newest["user_agent"], newest["ip"]) == (id_of(pair), "Tester/1.0 (tests)", "127.0.0.1")
        assert (newest["current"], own["current"]) == (False, True)
        created_at, expires_at = (datetime.fromisoformat(newest[name]) for name in ("created_at", "expires_at"))
        assert abs(created_at - begun) < timedelta(seconds=60)
        assert newest["last_used_at"] == newest["created_at"]
        assert expires_at - created_at == timedelta(days=30)

    @pytest.mark.parametrize("by_id", [False, True])
    def test_newest_comes_first(self, api: Api, alice: Actor, by_id: bool) -> None:
        pairs = [api.grant("alice") for _ in range(3)]
        found = [session["id"] for session in sessions_of(alice, alice.path if by_id else "/users/me")]
        assert found[:3] == [id_of(pair) for pair in reversed(pairs)]
        assert len(found) == 4

    def test_refresh_shows_as_last_use(self, api: Api, alice: Actor) -> None:
        pair = api.grant("alice")
        then = now() - timedelta(days=2)
        change(api, pair, created_at=then, rotated_at=then)
        before = sessions_of(alice)[0]
        refreshed(api, pair)
        after = sessions_of(alice)[0]
        assert after["created_at"] == before["created_at"] == before["last_used_at"]
        assert abs(datetime.fromisoformat(after["last_used_at"]) - now()) < timedelta(seconds=60)

    @pytest.mark.parametrize(("agent", "kept"), [("x" * 300, "x" * 255), ("", None)])
    def test_long_or_absent_user_agent(self, api: Api, alice: Actor, agent: str, kept: str | None) -> None:
        api.grant("alice", **{"User-Agent": agent})
        assert sessions_of(alice)[0]["user_agent"] == kept

    def test_only_the_users_own_are_shown(self, api: Api, alice: Actor) -> None:
        bob = api.new_actor("bob")
        (own,) = sessions_of(bob)
        assert own["id"] not in [session["id"] for session in sessions_of(alice)]

    def test_admin_sees_anybodys_and_none_is_current(self, api: Api, alice: Actor) -> None:
        (seen,) = sessions_of(api.admin, alice.path)
        (own,) = sessions_of(alice)
        assert seen == own | {"current": False}

    def test_user_without_a_session_has_an_empty_list(self, api: Api) -> None:
        user = api.new_user("bob")
        assert sessions_of(api.admin, f"/users/{user['id']}") == []

    def test_expired_ones_are_not_shown(self, api: Api, alice: Actor) -> None:
        pair = api.grant("alice")
        assert len(sessions_of(alice)) == 2
        change(api, pair, expires_at=now() - timedelta(seconds=1))
        assert id_of(pair) not in [session["id"] for session in sessions_of(alice)]

    @pytest.mark.parametrize("page_size", [1, 2, 3, 100])
    def test_pages_follow_each_other(self, api: Api, alice: Actor, page_size: int) -> None:
        for _ in range(4):
            api.grant("alice")
        everything = sessions_of(alice)
        pages = [sessions_of(alice, page=page, page_size=page_size) for page in range(1, 7)]
        assert [session for page in pages for session in page] == everything
        assert max(map(len, pages)) == min(page_size, 5)

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("query", "wrong"),
        [
            ("page=0", {"page"}),
            ("page=-1", {"page"}),
            ("page=x", {"page"}),
            ("page=99999999999999999999", {"page"}),
            ("page_size=0", {"page_size"}),
            ("page_size=101", {"page_size"}),
            ("page_size=&page=", {"page", "page_size"}),
        ],
    )
    def test_page_out_of_bounds_is_invalid(self, alice: Actor, query: str, wrong: set[str]) -> None:
        """S18, S12."""
        assert_invalid(alice.get(f"/users/me/sessions?{query}"), *wrong)


class TestPermissions:
    """S3."""

    ROUTES = pytest.mark.parametrize(
        ("method", "route"), [("GET", ""), ("DELETE", ""), ("DELETE", "?keep_current=true"), ("DELETE", "/{id}")]
    )

    @ROUTES
    @pytest.mark.parametrize("target", ["other", "admin", "missing"])
    def test_user_sees_and_ends_nobody_elses(
        self, api: Api, alice: Actor, method: str, route: str, target: str
    ) -> None:
        api.new_actor("bob")
        before = api.sql("SELECT id FROM login_sessions ORDER BY id")
        targets = {"other": "bob", "admin": "admin"}
        rows = api.sql(
            "SELECT users.id, login_sessions.id FROM users JOIN login_sessions ON user_id = users.id"
            " WHERE username = :username",
            username=targets.get(target, "admin"),
        )
        user_id, session_id = (MISSING, rows[0][1]) if target == "missing" else rows[0]
        answer = alice.request(method, f"/users/{user_id}/sessions{route.format(id=session_id)}")
        assert_refused(answer, "not_enough_permissions")
        assert api.sql("SELECT id FROM login_sessions ORDER BY id") == before

    @ROUTES
    def test_admin_is_told_that_a_user_is_missing(self, api: Api, method: str, route: str) -> None:
        answer = api.admin.request(method, f"/users/{MISSING}/sessions{route.format(id=MISSING)}")
        assert_refused(answer, "session_not_found" if route == "/{id}" else "user_not_found")
        assert api.admin.get("/users/me").status_code == 200

    @ROUTES
    def test_stranger_is_refused(self, api: Api, alice: Actor, method: str, route: str) -> None:
        pair = api.grant("alice")
        answer = api.http.request(method, f"{alice.path}/sessions{route.format(id=id_of(pair))}")
        assert_refused(answer, "not_authenticated")
        alive(api, pair)


class TestEndOne:
    @pytest.mark.parametrize("who", ["me", "self", "admin"])
    def test_its_tokens_die_at_once_and_no_others(self, api: Api, alice: Actor, who: str) -> None:
        """S1."""
        ended, kept = api.grant("alice"), api.grant("alice")
        actor, path = {"me": (alice, "/users/me"), "self": (alice, alice.path), "admin": (api.admin, alice.path)}[who]
        answer = actor.delete(f"{path}/sessions/{id_of(ended)}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_ended(api, ended)
        alive(api, kept)
        assert alice.get("/users/me").status_code == 200
        assert api.admin.get("/users/me").status_code == 200

    def test_own_current_one_is_a_logout(self, alice: Actor) -> None:
        """S1."""
        (own,) = sessions_of(alice)
        assert alice.delete(f"/users/me/sessions/{own['id']}").status_code == 204
        assert_refused(alice.get("/users/me"), "invalid_token")

    def test_second_time_it_is_gone(self, api: Api, alice: Actor) -> None:
        path = f"/users/me/sessions/{id_of(api.grant('alice'))}"
        assert alice.delete(path).status_code == 204
        assert_refused(alice.delete(path), "session_not_found")

    def test_id_of_anothers_session_is_not_found_under_ones_own(self, api: Api, alice: Actor) -> None:
        """S3: an id that fits is not enough, for an admin neither."""
        api.new_user("bob")
        pair = api.grant("bob")
        assert_refused(alice.delete(f"/users/me/sessions/{id_of(pair)}"), "session_not_found")
        assert_refused(api.admin.delete(f"{alice.path}/sessions/{id_of(pair)}"), "session_not_found")
        alive(api, pair)

    @ON_SQLITE
    @pytest.mark.parametrize("session_id", [0, -1, 2**31, 2**63, 10**18, "x", "1.5", "%00"])
    def test_id_out_of_bounds_is_invalid(self, alice: Actor, session_id: Any) -> None:
        """S12."""
        assert_invalid(alice.delete(f"/users/me/sessions/{session_id}"), "session_id")


class TestEndAll:
    @pytest.mark.parametrize("query", ["", "?keep_current=false"])
    def test_by_their_user(self, api: Api, alice: Actor, query: str) -> None:
        """S1."""
        pairs = [api.grant("alice") for _ in range(2)]
        answer = alice.delete(f"/users/me/sessions{query}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_ended(api, *pairs)
        assert_refused(alice.get("/users/me"), "invalid_token")
        assert api.admin.get("/users/me").status_code == 200

    def test_but_the_current_one(self, api: Api, alice: Actor) -> None:
        """S1."""
        (own,) = sessions_of(alice)
        pairs = [api.grant("alice") for _ in range(2)]
        assert alice.delete(f"{alice.path}/sessions", params={"keep_current": True}).status_code == 204
        assert_ended(api, *pairs)
        assert sessions_of(alice) == [own]

    @pytest.mark.parametrize("keep_current", [False, True])
    def test_by_an_admin_none_is_kept_and_its_own_are_no_part_of_it(
        self, api: Api, alice: Actor, keep_current: bool
    ) -> None:
        """S1: the admin's current session is not one of this user's."""
        pair = api.grant("alice")
        answer = api.admin.delete(f"{alice.path}/sessions", params={"keep_current": keep_current})
        assert answer.status_code == 204
        assert_ended(api, pair)
        assert_refused(alice.get("/users/me"), "invalid_token")
        assert api.admin.get("/users/me").status_code == 200

    def test_of_a_user_without_any_is_fine(self, api: Api) -> None:
        user = api.new_user("bob")
        assert api.admin.delete(f"/users/{user['id']}/sessions").status_code == 204

    @ON_SQLITE
    @pytest.mark.parametrize("value", ["", "perhaps", "2"])
    def test_keep_current_is_yes_or_no(self, alice: Actor, value: str) -> None:
        assert_invalid(alice.delete(f"/users/me/sessions?keep_current={value}"), "keep_current")
        assert len(sessions_of(alice)) == 1

    def test_user_may_log_in_again(self, api: Api, alice: Actor) -> None:
        assert alice.delete("/users/me/sessions").status_code == 204
        assert len(sessions_of(api.log_in("alice"))) == 1


class TestPasswordChange:
    """S1: all sessions end but the one that made the change, with the change or not at all."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_own_one_keeps_this_session_with_its_refresh_token(self, api: Api, alice: Actor, method: str) -> None:
        """S1."""
        others = [api.grant("alice") for _ in range(2)]
        own = api.grant("alice")
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        actor = Actor(api, alice.user, own["access_token"])
        assert actor.request(method, "/users/me", json=body).status_code == 200
        assert_ended(api, *others)
        alive(api, own)
        assert [session["current"] for session in sessions_of(actor)] == [True]
        alive(api, refreshed(api, own))

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_refused_one_ends_none(self, api: Api, alice: Actor, method: str) -> None:
        """S1."""
        api.new_user("bob")
        other = api.grant("alice")
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD, "username": "bob"}
        assert_refused(alice.request(method, "/users/me", json=body), "username_taken")
        alive(api, other)
        api.token("alice", PASSWORD)

    def test_same_password_again_ends_the_others_too(self, api: Api, alice: Actor) -> None:
        """Whoever fears for an account may set what it has."""
        other = api.grant("alice")
        body = {"password": PASSWORD, "current_password": PASSWORD}
        assert alice.patch("/users/me", json=body).status_code == 200
        assert_ended(api, other)


class TestCleanUp:
    """Nobody sweeps: each login takes some expired rows along."""

    def _add(self, api: Api, user_id: int, count: int, age: timedelta) -> None:
        then = now() - age
        row = {"user_id": user_id, "generation": 1, "created_at": then, "rotated_at": then, "expires_at": then}
        api.execute(sa.insert(LoginSession), [row] * count)

    def test_login_forgets_expired_sessions_of_anybody(self, api: Api, alice: Actor) -> None:
        pairs: list[Pair] = [api.grant("admin", ADMIN_PASSWORD), api.grant("alice")]
        self._add(api, alice.id, 30, timedelta(days=1))
        self._add(api, api.admin.id, 30, timedelta(seconds=1))
        api.grant("alice")
        assert api.sql("SELECT count(*) FROM login_sessions") == [(5,)]
        for pair in pairs:
            alive(api, pair)

    def test_a_great_many_are_forgotten_over_several_logins(self, api: Api, alice: Actor) -> None:
        self._add(api, alice.id, 250, timedelta(days=1))
        left = []
        for _ in range(3):
            api.grant("alice")
            left.append(api.sql("SELECT count(*) FROM login_sessions")[0][0])
        assert left[0] > left[1] > left[2] == 5

    def test_what_has_not_expired_stays(self, api: Api) -> None:
        api.new_user("bob")
        pair = api.grant("bob")
        change(api, pair, created_at=now() - timedelta(days=89), expires_at=now() + timedelta(minutes=1))
        api.grant("bob")
        assert row(api, pair) is not None
