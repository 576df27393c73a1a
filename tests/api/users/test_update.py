"""Changing a user: PUT /users/{user_id}."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.unchanged import Unchanged
from tests.support.users import INVALID, VALID, instant, stored


class TestUpdate:
    def test_changes_what_is_named_and_answers_the_user_as_it_is(self, api: Api) -> None:
        alice = api.new_actor("alice", age=30)
        before = datetime.now(UTC)
        answer = alice.put(alice.path, json={"username": "alicia", "age": 31})
        assert answer.status_code == 200
        user = answer.json()
        assert before <= instant(user["updated_at"]) <= datetime.now(UTC)
        assert user == alice.user | {"username": "alicia", "age": 31, "updated_at": user["updated_at"]}
        assert alice.get("/users/me").json() == api.admin.get(alice.path).json() == user

    def test_me_is_oneself(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.put("/users/me", json={"age": 31}).json()["id"] == alice.id
        assert alice.get(alice.path).json()["age"] == 31

    def test_admin_changes_everything_of_another(self, api: Api) -> None:
        user = api.new_user("alice", age=30)
        changes = {"username": "bob", "email": "bob@example.com", "age": 99, "is_admin": True, "is_active": False}
        answer = api.admin.put(f"/users/{user['id']}", json={**changes, "password": NEW_PASSWORD})
        assert answer.status_code == 200
        assert answer.json() == user | changes | {"updated_at": answer.json()["updated_at"]}

    def test_admin_sets_anothers_password(self, api: Api) -> None:
        user = api.new_user("alice")
        assert api.admin.put(f"/users/{user['id']}", json={"password": NEW_PASSWORD}).status_code == 200
        api.log_in("alice", NEW_PASSWORD)
        answer = api.http.post("/token", data={"username": "alice", "password": PASSWORD})
        assert_refused(answer, "invalid_credentials")

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"age": 30},
            {"username": "alice", "email": "alice@example.com", "is_admin": False, "is_active": True},
            {"username": None, "email": None, "password": None, "age": None, "is_admin": None, "is_active": None},
            {"current_password": PASSWORD},
            {"current_password": "wrong and not needed"},
        ],
    )
    def test_update_without_a_difference_leaves_updated_at_alone(self, api: Api, changes: dict[str, Any]) -> None:
        alice = api.new_actor("alice", age=30)
        before = stored(api)
        answer = alice.put(alice.path, json=changes)
        assert (answer.status_code, answer.json()) == (200, alice.user)
        assert stored(api) == before

    def test_whole_object_can_be_put_back(self, api: Api) -> None:
        """S4: naming privileges without a difference is no change of them."""
        alice = api.new_actor("alice", age=30)
        answer = alice.put(alice.path, json=alice.get("/users/me").json())
        assert (answer.status_code, answer.json()) == (200, alice.user)
        changed = alice.put(alice.path, json=alice.user | {"age": 31})
        assert changed.status_code == 200
        assert changed.json()["age"] == 31

    def test_updated_at_is_the_time_of_the_last_change(self, api: Api) -> None:
        alice = api.new_actor("alice")
        first = alice.put(alice.path, json={"age": 31}).json()
        second = alice.put(alice.path, json={"age": 32}).json()
        third = alice.put(alice.path, json={"age": 32}).json()
        assert instant(alice.user["created_at"]) < instant(first["updated_at"]) < instant(second["updated_at"])
        assert third == second
        assert second["created_at"] == alice.user["created_at"]

    def test_unknown_and_read_only_keys_are_ignored(self, api: Api) -> None:
        """S4."""
        alice = api.new_actor("alice")
        before = stored(api)
        extra = {
            "id": api.admin.id,
            "hashed_password": "x",
            "created_at": "2001-01-01T00:00:00Z",
            "updated_at": "2001-01-01T00:00:00Z",
            "version": 77,
            "username_key": "admin",
            "email_key": "admin@example.com",
            "shoe_size": 44,
        }
        assert alice.put(alice.path, json=extra).json() == alice.user
        assert stored(api) == before

    @pytest.mark.parametrize(("field", "value"), VALID)
    def test_value_at_the_edge_of_a_rule_is_fine(self, api: Api, field: str, value: Any) -> None:
        user = api.new_user("alice")
        answer = api.admin.put(f"/users/{user['id']}", json={field: value})
        assert answer.json()[field] == value
        assert api.admin.get(f"/users/{user['id']}").json() == answer.json()

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"username": "bob"}, "username_taken"),
            ({"username": "BOB"}, "username_taken"),
            ({"email": "bob@example.com"}, "email_taken"),
            ({"email": "BOB@Example.com"}, "email_taken"),
            ({"username": "bob", "email": "bob@example.com"}, "username_taken"),
            ({"username": "bob", "email": "carol@example.com"}, "username_taken"),
            ({"username": "dora", "email": "bob@example.com"}, "email_taken"),
        ],
    )
    def test_taken_name_changes_nothing(self, api: Api, changes: dict[str, Any], code: str) -> None:
        """S5."""
        alice = api.new_user("alice")
        api.new_user("bob")
        api.new_user("carol")
        before = stored(api)
        assert_refused(api.admin.put(f"/users/{alice['id']}", json={"age": 99, **changes}), code)
        assert stored(api) == before

    def test_own_names_may_change_their_case(self, api: Api) -> None:
        """S5: the same e-mail address needs no password."""
        alice = api.new_actor("alice")
        answer = alice.put(alice.path, json={"username": "Alice", "email": "ALICE@example.com"})
        assert answer.status_code == 200
        assert (answer.json()["username"], answer.json()["email"]) == ("Alice", "ALICE@example.com")
        assert answer.json()["updated_at"] is not None
        assert api.log_in("alice").id == alice.id

    @pytest.mark.parametrize("changes", [{"is_admin": True}, {"is_active": False}, {"is_admin": True, "age": 9}])
    def test_user_cannot_change_its_privileges(self, api: Api, changes: dict[str, Any]) -> None:
        """S4."""
        alice = api.new_actor("alice")
        before = stored(api)
        assert_refused(alice.put(alice.path, json=changes), "not_enough_permissions")
        assert stored(api) == before

    def test_missing_user(self, api: Api) -> None:
        assert_refused(api.admin.put(f"/users/{2**31 - 1}", json={"age": 9}), "user_not_found")

    def test_renamed_user_logs_in_with_the_new_name_only(self, api: Api) -> None:
        alice = api.new_actor("alice")
        alice.put(alice.path, json={"username": "alicia"})
        assert api.log_in("alicia").id == alice.id
        answer = api.http.post("/token", data={"username": "alice", "password": PASSWORD})
        assert_refused(answer, "invalid_credentials")
        assert api.new_user("alice", email="a@example.com")["id"] != alice.id


@ON_SQLITE
class TestInvalid(Unchanged):
    """S8, S12."""

    @pytest.fixture(scope="class")
    @classmethod
    def alice(cls, api: Api) -> Actor:
        return api.new_actor("alice", age=30)

    @pytest.mark.parametrize(("field", "value"), [*INVALID, ("is_active", "perhaps"), ("is_active", [])])
    def test_broken_rule_is_named_and_nothing_changed(self, api: Api, alice: Actor, field: str, value: Any) -> None:
        """S8, S12."""
        before = stored(api)
        assert_invalid(api.admin.put(alice.path, json={"age": 99, field: value}), field)
        assert stored(api) == before
