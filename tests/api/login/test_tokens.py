"""Access tokens: what ends them, and whom they fit."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Actor, Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.jwts import forge
from tests.support.logins import claims_of
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD, bearer


def assert_dead(actor: Actor) -> None:
    assert_refused(actor.get("/users/me"), "session_ended")


class TestRevocation:
    """S1."""

    def test_own_password_change_ends_all_sessions_but_the_one_that_made_it(self, api: Api) -> None:
        alice, elsewhere, bob = api.new_actor("alice"), api.log_in("alice"), api.new_actor("bob")
        changed = alice.put("/users/me", json={"password": NEW_PASSWORD, "current_password": PASSWORD})
        assert changed.status_code == 200
        assert_dead(elsewhere)
        assert alice.get("/users/me").status_code == 200
        assert bob.get("/users/me").status_code == 200

    def test_password_set_by_an_admin_ends_all_sessions(self, api: Api) -> None:
        alice, elsewhere = api.new_actor("alice"), api.log_in("alice")
        assert api.admin.put(alice.path, json={"password": NEW_PASSWORD}).status_code == 200
        assert_dead(alice)
        assert_dead(elsewhere)
        assert api.admin.get("/users/me").status_code == 200

    def test_password_set_by_the_operator_ends_all_sessions(self, api: Api) -> None:
        alice = api.new_actor("alice")
        done = command("set-password", "alice", "--password-stdin", url=api.server.url, stdin=NEW_PASSWORD)
        assert done.returncode == 0, done.stderr
        assert_dead(alice)
        api.log_in("alice", NEW_PASSWORD)

    def test_deactivation_ends_all_sessions_for_good(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.put(alice.path, json={"is_active": False}).status_code == 200
        assert_dead(alice)
        assert api.admin.put(alice.path, json={"is_active": True}).status_code == 200
        assert_dead(alice)
        api.log_in("alice")

    def test_deletion_ends_all_sessions(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.delete(alice.path).status_code == 200
        assert_dead(alice)

    @pytest.mark.parametrize("changes", [{"age": 9}, {"username": "alicia"}, {"email": "new@example.com"}])
    def test_other_changes_end_none(self, api: Api, changes: dict[str, Any]) -> None:
        alice = api.new_actor("alice")
        assert api.admin.put(alice.path, json=changes).status_code == 200
        assert alice.get("/users/me").status_code == 200

    def test_login_racing_a_password_change_does_not_outlive_the_old_password(self, api: Api) -> None:
        alice = api.new_user("alice")
        passwords = [PASSWORD, NEW_PASSWORD]
        for _ in range(4):
            old, new = passwords

            def log_in(_: int, password: str = old) -> str | None:
                answer = api.http.post("/token", data={"username": "alice", "password": password})
                assert answer.status_code in {200, 401}
                token: str | None = answer.json().get("access_token")
                return token

            with ThreadPoolExecutor(8) as pool:
                first = list(pool.map(log_in, range(8)))
                racing = pool.map(log_in, range(24))
                assert api.admin.put(f"/users/{alice['id']}", json={"password": new}).status_code == 200
                tokens = [token for token in [*first, *racing] if token is not None]
            assert len(tokens) >= len(first)
            for token in tokens:
                assert_refused(api.http.get("/users/me", headers=bearer(token)), "session_ended")
            passwords.reverse()


class TestIdentity:
    """S2."""

    def test_token_of_a_deleted_user_does_not_fit_the_next_one(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.delete(alice.path).status_code == 200
        again = api.new_actor("alice")
        assert again.id > alice.id
        assert_dead(alice)
        assert again.get("/users/me").status_code == 200

    def test_session_ids_are_not_given_twice(self, api: Api) -> None:
        alice, bob = api.new_actor("alice"), api.new_actor("bob")
        assert api.admin.delete(bob.path).status_code == 200
        again = api.log_in("alice")
        assert claims_of(again.token)["sid"] > claims_of(bob.token)["sid"] > claims_of(alice.token)["sid"]

    def test_renamed_user_keeps_its_token_and_passes_it_to_nobody(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.put("/users/me", json={"username": "alicia"}).status_code == 200
        again = api.new_user("alice", email="a@example.com")
        assert alice.get("/users/me").json()["username"] == "alicia"
        assert_refused(alice.get(f"/users/{again['id']}"), "not_enough_permissions")

    def test_session_of_another_user_does_not_fit(self, api: Api) -> None:
        alice, bob = claims_of(api.new_actor("alice").token), claims_of(api.new_actor("bob").token)
        for mixed in (alice | {"sid": bob["sid"]}, alice | {"sub": bob["sub"]}):
            assert_refused(api.http.get("/users/me", headers=bearer(forge(mixed))), "session_ended")


class TestChallenge:
    """S17: RFC 6750 section 3."""

    @ON_SQLITE
    @pytest.mark.parametrize("header", [None, "", "Basic YWRtaW46YWRtaW4=", "Digest x", "Token {}", "{}", "Bearer{}"])
    def test_without_a_bearer_token_names_only_the_scheme(self, api: Api, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header.format(api.admin.token)}
        answer = api.http.get("/users/me", headers=headers)
        assert_refused(answer, "not_authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_with_a_dead_token_says_so(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.delete("/users/me").status_code == 200
        answer = alice.get("/users/me")
        assert_refused(answer, "session_ended")
        challenge = 'Bearer error="invalid_token", error_description="The login session has ended"'
        assert answer.headers["WWW-Authenticate"] == challenge

    @ON_SQLITE
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_scheme_is_case_insensitive(self, api: Api, scheme: str) -> None:
        answer = api.http.get("/users/me", headers={"Authorization": f"{scheme} {api.admin.token}"})
        assert answer.status_code == 200

    @ON_SQLITE
    def test_token_in_query_or_form_is_not_taken(self, api: Api) -> None:
        """RFC 6750 section 2: a URL ends up in logs."""
        token = {"access_token": api.token("admin", ADMIN_PASSWORD)}
        assert_refused(api.http.get("/users/me", params=token), "not_authenticated")
        assert_refused(api.http.put("/users/me", data=token), "not_authenticated")
