"""Login sessions seen: GET /users/{user_id}/sessions."""

from datetime import datetime, timedelta

import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import now
from tests.support.listing import links
from tests.support.logins import alive, change, id_of, refreshed, sessions_of
from tests.support.people import MISSING

FIELDS = {"id", "created_at", "last_used_at", "expires_at", "user_agent", "ip", "current"}


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

    @pytest.mark.parametrize(("page_size", "more"), [(1, True), (2, False), (3, False)])
    def test_next_page_is_linked_if_there_is_one(self, api: Api, alice: Actor, page_size: int, more: bool) -> None:
        api.grant("alice")
        answer = alice.get(f"/users/me/sessions?page_size={page_size}")
        assert ("next" in links(answer, "/users/me/sessions")) == more

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("query", "wrong"),
        [
            ("page=0", {"page"}),
            ("page=-1", {"page"}),
            ("page=x", {"page"}),
            ("page=99999999999999999999", {"page"}),
            ("page_size=0", {"page_size"}),
            ("page_sze=5", {"page_sze"}),
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
