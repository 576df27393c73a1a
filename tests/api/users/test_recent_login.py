"""Changes that need a recent login, so that a token stolen later is not enough."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Actor, Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.insides import now
from tests.support.logins import change, refreshed
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD
from tests.support.servers import Shared
from tests.support.users import body_of, stored

METHODS = pytest.mark.parametrize("method", ["PUT", "PATCH"])
OTHERS = [{"password": NEW_PASSWORD}, {"email": "new@example.com"}, {"email": "BOB@example.com"}, {"is_admin": True}]
CHALLENGE = 'Bearer error="insufficient_user_authentication", max_age=3600'


def actor(api: Api, username: str, password: str = PASSWORD, *, minutes: float, refreshes: int = 1) -> Actor:
    """Return a user who typed its password so many minutes ago, and has refreshed its tokens since."""
    pair = api.grant(username, password)
    me = api.http.get("/users/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
    change(api, pair, created_at=now() - timedelta(minutes=minutes))
    for _ in range(refreshes):
        pair = refreshed(api, pair)
    return Actor(api, me.json(), pair["access_token"])


def assert_old(answer: Any) -> None:
    assert_refused(answer, "recent_login_required")
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


class TestOldLogin:
    """S24: the password was typed more than an hour ago; refreshing makes it no younger."""

    @METHODS
    @pytest.mark.parametrize("is_admin", [False, True])
    def test_own_name_stays(self, api: Api, method: str, is_admin: bool) -> None:
        api.new_user("alice", is_admin=is_admin)
        alice = actor(api, "alice", minutes=61)
        before = stored(api)
        for path in ("/users/me", alice.path):
            for name in ("alicia", "Alice"):
                assert_old(alice.request(method, path, json={"username": name, "age": 9}))
        assert stored(api) == before

    def test_own_account_stays(self, api: Api) -> None:
        api.new_user("alice")
        alice = actor(api, "alice", minutes=61)
        for path in ("/users/me", alice.path):
            assert_old(alice.delete(path))
        assert alice.get("/users/me").status_code == 200

    @METHODS
    @pytest.mark.parametrize("changes", OTHERS)
    def test_admin_takes_no_account_and_makes_no_admin(self, api: Api, method: str, changes: dict[str, Any]) -> None:
        bob = api.new_user("bob")
        admin = actor(api, "admin", ADMIN_PASSWORD, minutes=61)
        before = stored(api)
        assert_old(admin.request(method, f"/users/{bob['id']}", json={"age": 9, **changes}))
        assert stored(api) == before

    def test_admin_creates_no_admin_and_deletes_nobody(self, api: Api) -> None:
        bob = api.new_user("bob")
        admin = actor(api, "admin", ADMIN_PASSWORD, minutes=61)
        before = stored(api)
        assert_old(admin.post("/users", json=body_of("carol", is_admin=True)))
        assert_old(admin.delete(f"/users/{bob['id']}"))
        assert stored(api) == before

    @METHODS
    def test_everything_else_goes_on(self, api: Api, method: str) -> None:
        bob = api.new_user("bob")
        admin = actor(api, "admin", ADMIN_PASSWORD, minutes=61)
        path = f"/users/{bob['id']}"
        assert admin.get("/users").status_code == 200
        assert admin.post("/users", json=body_of("carol")).status_code == 201
        assert admin.post("/users", json=body_of("dave", is_admin=False)).status_code == 201
        same = {"email": "bob@example.com", "is_admin": False}
        for changes in ({"age": 9}, {"username": "robert"}, {"is_active": False}, same):
            assert admin.request(method, path, json=changes).status_code == 200
        own = {"username": "admin", "age": 50, "is_admin": True}
        assert admin.request(method, "/users/me", json=own).status_code == 200
        guarded = {"email": "a@example.com", "password": NEW_PASSWORD, "current_password": ADMIN_PASSWORD}
        assert admin.request(method, "/users/me", json=guarded).status_code == 200

    def test_logging_in_again_helps(self, api: Api) -> None:
        api.new_user("alice")
        assert_old(actor(api, "alice", minutes=61).delete("/users/me"))
        assert api.log_in("alice").delete("/users/me").status_code == 200

    def test_permission_is_asked_first(self, api: Api) -> None:
        api.new_user("alice")
        alice = actor(api, "alice", minutes=61)
        assert_refused(alice.delete(api.admin.path), "not_enough_permissions")
        assert_refused(alice.patch("/users/me", json={"is_admin": True}), "not_enough_permissions")


@METHODS
def test_within_the_hour_all_is_allowed(api: Api, method: str) -> None:
    """S24."""
    bob = api.new_user("bob")
    admin = actor(api, "admin", ADMIN_PASSWORD, minutes=55)
    for changes in OTHERS:
        assert admin.request(method, f"/users/{bob['id']}", json=changes).status_code == 200
    assert admin.post("/users", json=body_of("carol", is_admin=True)).status_code == 201
    assert admin.delete(f"/users/{bob['id']}").status_code == 200
    assert admin.request(method, "/users/me", json={"username": "chief"}).status_code == 200
    assert admin.delete("/users/me").status_code == 200


@ON_SQLITE
@pytest.mark.parametrize(("minutes", "age", "status"), [("0", 60 * 24 * 89, 200), ("5", 4, 200), ("5", 6, 403)])
def test_time_can_be_set(shared: Shared, kind: str, minutes: str, age: float, status: int) -> None:
    """S24."""
    with client_of(shared.service(kind, RECENT_LOGIN_MINUTES=minutes)) as api:
        api.new_user("alice")
        answer = actor(api, "alice", minutes=age, refreshes=0).delete("/users/me")
        assert answer.status_code == status
        if status == 403:
            assert answer.headers["WWW-Authenticate"].endswith(", max_age=300")
