"""Deleting users: DELETE /users/{user_id}; and that an active admin remains."""

from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD
from tests.support.users import stored


class TestDelete:
    def test_admin_deletes_another(self, api: Api) -> None:
        user = api.new_user("alice")
        answer = api.admin.delete(f"/users/{user['id']}")
        assert (answer.status_code, answer.json()) == (200, {"message": "User deleted successfully"})
        assert_refused(api.admin.get(f"/users/{user['id']}"), "user_not_found")
        assert_refused(api.admin.delete(f"/users/{user['id']}"), "user_not_found")

    @pytest.mark.parametrize("by_id", [False, True])
    def test_user_deletes_itself_and_leaves_nothing(self, api: Api, by_id: bool) -> None:
        """S1."""
        alice = api.new_actor("alice")
        api.log_in("alice")
        assert alice.delete(alice.path if by_id else "/users/me").status_code == 200
        assert_refused(alice.get("/users/me"), "session_ended")
        assert api.sql("SELECT * FROM users WHERE id = :id", id=alice.id) == []
        assert api.sql("SELECT * FROM login_sessions WHERE user_id = :id", id=alice.id) == []
        assert api.admin.get("/users/me").status_code == 200


class TestLastAdmin:
    LOSING = pytest.mark.parametrize(
        ("method", "changes"), [("DELETE", None), ("PUT", {"is_admin": False}), ("PUT", {"is_active": False})]
    )

    @LOSING
    @pytest.mark.parametrize("other_is_active", [None, False])
    def test_last_active_admin_stays(self, api: Api, method: str, changes: Any, other_is_active: bool | None) -> None:
        """S13: neither users nor an inactive admin count."""
        api.new_user("alice")
        if other_is_active is not None:
            other = api.new_user("boss", is_admin=True)
            assert api.admin.put(f"/users/{other['id']}", json={"is_active": False}).status_code == 200
        before = stored(api)
        for path in ("/users/me", api.admin.path):
            assert_refused(api.admin.request(method, path, json=changes), "last_admin")
        assert stored(api) == before
        assert api.admin.get("/users").status_code == 200

    @LOSING
    def test_one_of_two_may_go(self, api: Api, method: str, changes: Any) -> None:
        boss = api.new_actor("boss", is_admin=True)
        assert boss.request(method, "/users/me", json=changes).status_code == 200
        assert boss.get("/users").status_code in {401, 403}
        assert_refused(api.admin.delete("/users/me"), "last_admin")

    def test_last_admin_may_change_otherwise(self, api: Api) -> None:
        answer = api.admin.put("/users/me", json={"age": 50, "is_admin": True, "is_active": True})
        assert answer.status_code == 200
        answer = api.admin.put("/users/me", json={"password": NEW_PASSWORD, "current_password": ADMIN_PASSWORD})
        assert answer.status_code == 200

    def test_inactive_or_former_admin_may_be_deleted(self, api: Api) -> None:
        for changes in ({"is_active": False}, {"is_admin": False}):
            boss = api.new_user("boss", is_admin=True)
            assert api.admin.put(f"/users/{boss['id']}", json=changes).status_code == 200
            assert api.admin.delete(f"/users/{boss['id']}").status_code == 200
