"""Reading a user: GET /users/{user_id}."""

from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.unchanged import Unchanged
from tests.support.users import PUBLIC


class TestRead:
    def test_self_by_id_and_as_me(self, api: Api) -> None:
        alice = api.new_actor("alice", age=30)
        assert alice.user.keys() == PUBLIC
        assert alice.get(alice.path).json() == alice.get("/users/me").json() == alice.user

    def test_admin_reads_anybody(self, api: Api) -> None:
        user = api.new_user("alice")
        assert api.admin.get(f"/users/{user['id']}").json() == user

    def test_missing_user(self, api: Api) -> None:
        assert_refused(api.admin.get(f"/users/{2**31 - 1}"), "user_not_found")


@ON_SQLITE
class TestInvalid(Unchanged):
    """S12."""

    @pytest.mark.parametrize("user_id", [0, -1, 2**31, 2**63, 10**18, "alice", "1.5", "ME", "me%20", "%00"])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_id_out_of_bounds_is_invalid(self, api: Api, method: str, user_id: Any) -> None:
        """S12."""
        answer = api.admin.request(method, f"/users/{user_id}", json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
