"""Login sessions ended: by request, by a password change, by time."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import LoginSession, now
from tests.support.logins import (
    Pair,
    alive,
    assert_ended,
    change,
    claims_of,
    id_of,
    refresh,
    refreshed,
    row,
    sessions_of,
    use,
)
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD


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
        assert_refused(alice.get("/users/me"), "session_ended")

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
        assert_refused(alice.get("/users/me"), "session_ended")
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
        assert_refused(alice.get("/users/me"), "session_ended")
        assert api.admin.get("/users/me").status_code == 200

    def test_of_a_user_without_any_is_fine(self, api: Api) -> None:
        user = api.new_user("bob")
        assert api.admin.delete(f"/users/{user['id']}/sessions").status_code == 204

    @ON_SQLITE
    @pytest.mark.parametrize("value", ["", "perhaps", "2"])
    def test_keep_current_is_yes_or_no(self, alice: Actor, value: str) -> None:
        assert_invalid(alice.delete(f"/users/me/sessions?keep_current={value}"), "keep_current")

    def test_misspelt_parameter_ends_none(self, alice: Actor) -> None:
        assert_invalid(alice.delete("/users/me/sessions?keep_curent=true"), "keep_curent")
        assert alice.get("/users/me").status_code == 200
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
        assert alive(api, own).generation == 2
        renewed = refreshed(api, own)
        alive(api, renewed)
        alive(api, refreshed(api, renewed))

    def test_raises_the_generation_above_the_token_that_made_it(self, api: Api, alice: Actor) -> None:
        """S27: once, so that a second change leaves the client its refresh token."""
        first = api.grant("alice")
        pair = refreshed(api, first)
        actor = Actor(api, alice.user, pair["access_token"])
        for old, new in ((PASSWORD, NEW_PASSWORD), (NEW_PASSWORD, PASSWORD)):
            assert actor.patch("/users/me", json={"password": new, "current_password": old}).status_code == 200
            assert alive(api, pair).generation == 3
        renewed = refreshed(api, pair)
        assert claims_of(renewed["refresh_token"])["gen"] == 3
        alive(api, refreshed(api, renewed))

    def test_copy_of_an_older_refresh_token_ends_the_session(self, api: Api, alice: Actor) -> None:
        """S20, S27: even if it had still served before."""
        first = api.grant("alice")
        pair = refreshed(api, first)
        use(api, pair)
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        actor = Actor(api, alice.user, pair["access_token"])
        assert actor.patch("/users/me", json=body).status_code == 200
        assert_refused(refresh(api, first["refresh_token"]), "invalid_grant")
        assert_ended(api, pair)

    def test_copy_shows_itself_when_the_owner_has_gone_on(self, api: Api, alice: Actor) -> None:
        """S20, S27."""
        pair = api.grant("alice")
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        actor = Actor(api, alice.user, pair["access_token"])
        assert actor.patch("/users/me", json=body).status_code == 200
        renewed = refreshed(api, pair)
        use(api, renewed)
        assert_refused(refresh(api, pair["refresh_token"], agent="Copy"), "invalid_grant")
        assert_ended(api, pair, renewed)

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
        self._add(api, alice.id, 30, timedelta(days=2))
        self._add(api, api.admin.id, 30, timedelta(hours=25))
        api.grant("alice")
        assert api.sql("SELECT count(*) FROM login_sessions") == [(5,)]
        for pair in pairs:
            alive(api, pair)

    def test_a_great_many_are_forgotten_over_several_logins(self, api: Api, alice: Actor) -> None:
        self._add(api, alice.id, 250, timedelta(days=2))
        left = []
        for _ in range(3):
            api.grant("alice")
            left.append(api.sql("SELECT count(*) FROM login_sessions")[0][0])
        assert left[0] > left[1] > left[2] == 5

    def test_what_expired_less_than_a_day_ago_stays(self, api: Api, alice: Actor) -> None:
        """R19: the clock may be wrong."""
        self._add(api, alice.id, 30, timedelta(hours=23))
        api.grant("alice")
        assert api.sql("SELECT count(*) FROM login_sessions") == [(33,)]

    def test_what_has_not_expired_stays(self, api: Api) -> None:
        api.new_user("bob")
        pair = api.grant("bob")
        change(api, pair, created_at=now() - timedelta(days=89), expires_at=now() + timedelta(minutes=1))
        api.grant("bob")
        assert row(api, pair) is not None
