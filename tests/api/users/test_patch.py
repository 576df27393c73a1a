"""Changing a user by a merge patch: PATCH /users/{user_id}."""

from typing import Any

import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.unchanged import Unchanged
from tests.support.users import stored, tag_of

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class TestMergePatch:
    """RFC 7396."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"username": "alicia"},
            {"age": 31},
            {"age": None},
            {"username": "Alice"},
            {"age": 1, "username": "alicia"},
            {"email": "Alice@example.com"},
        ],
    )
    def test_changes_what_is_there_and_keeps_the_rest(self, alice: Actor, changes: dict[str, Any]) -> None:
        answer = alice.patch("/users/me", json=changes)
        assert answer.status_code == 200
        assert answer.json() == alice.user | changes | {"updated_at": answer.json()["updated_at"]}
        assert answer.json()["updated_at"] is not None
        assert alice.get("/users/me").json() == answer.json()

    def test_admin_changes_everything_of_another(self, api: Api, alice: Actor) -> None:
        changes = {
            "username": "alicia",
            "email": "alicia@example.org",
            "age": None,
            "is_admin": True,
            "is_active": True,
        }
        answer = api.admin.patch(alice.path, json=changes | {"password": NEW_PASSWORD})
        assert answer.status_code == 200
        assert answer.json() == alice.user | changes | {"updated_at": answer.json()["updated_at"]}
        api.log_in("alicia@example.org", NEW_PASSWORD)

    @ON_SQLITE
    @pytest.mark.parametrize(
        "media", ["application/merge-patch+json", "application/json", "application/json; charset=utf-8"]
    )
    def test_media_types(self, alice: Actor, media: str) -> None:
        answer = alice.patch("/users/me", content=b'{"age": null}', headers={"Content-Type": media})
        assert answer.status_code == 200
        assert answer.json()["age"] is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": 999},
            {"hashed_password": "x", "updated_at": None, "created_at": "2000-01-01T00:00:00Z"},
            {"version": 99, "username_key": "bob"},
            {"nickname": None},
        ],
    )
    def test_unknown_and_read_only_keys_are_ignored(self, api: Api, alice: Actor, changes: dict[str, Any]) -> None:
        """S4."""
        before = stored(api)
        answer = alice.patch("/users/me", json=changes)
        assert (answer.status_code, answer.json()) == (200, alice.user)
        assert stored(api) == before

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"username": "BOB"}, "username_taken"),
            ({"email": "Bob@Example.com"}, "email_taken"),
            ({"username": "bob", "email": "bob@example.com"}, "username_taken"),
        ],
    )
    def test_taken_name_changes_nothing(self, api: Api, alice: Actor, changes: dict[str, Any], code: str) -> None:
        """S5."""
        api.new_user("bob")
        before = stored(api)
        assert_refused(api.admin.patch(alice.path, json={"age": 99, **changes}), code)
        assert_refused(alice.patch("/users/me", json={**changes, "current_password": PASSWORD}), code)
        assert stored(api) == before

    def test_missing_user(self, api: Api) -> None:
        assert_refused(api.admin.patch(f"/users/{2**31 - 1}", json={"age": None}), "user_not_found")


class TestPermissions:
    """S3, S4."""

    @pytest.mark.parametrize("target", ["admin", "missing"])
    @pytest.mark.parametrize("changes", [{}, {"age": 5}, {"is_admin": False}])
    def test_nobody_elses(self, api: Api, alice: Actor, target: str, changes: dict[str, Any]) -> None:
        """S3."""
        before = stored(api)
        path = api.admin.path if target == "admin" else f"/users/{2**31 - 1}"
        assert_refused(alice.patch(path, json=changes), "not_enough_permissions")
        assert_refused(api.http.patch(path, json=changes), "not_authenticated")
        assert stored(api) == before

    @pytest.mark.parametrize("changes", [{"is_admin": True}, {"is_active": False}])
    def test_privileges_change_by_no_means(self, api: Api, alice: Actor, changes: dict[str, Any]) -> None:
        """S4: also with the current password."""
        before = stored(api)
        body = {"age": None, "password": NEW_PASSWORD, "current_password": PASSWORD, **changes}
        assert_refused(alice.patch("/users/me", json=body), "not_enough_permissions")
        assert_refused(alice.patch(alice.path, json=changes), "not_enough_permissions")
        assert stored(api) == before

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_naming_privileges_as_they_are_is_no_violation(self, alice: Actor, method: str) -> None:
        body = {"is_admin": False, "is_active": True, "age": 31}
        answer = alice.request(method, "/users/me", json=body)
        assert answer.status_code == 200
        assert answer.json()["age"] == 31

    @pytest.mark.parametrize("changes", [{"is_admin": False}, {"is_active": False}])
    def test_last_active_admin_stays(self, api: Api, changes: dict[str, Any]) -> None:
        """S13."""
        before = stored(api)
        assert_refused(api.admin.patch("/users/me", json=changes), "last_admin")
        assert stored(api) == before


class TestWholeObject:
    """Clients send back what they got."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("age", [30, None])
    def test_unchanged_changes_nothing(self, api: Api, alice: Actor, method: str, age: int | None) -> None:
        if age is None:
            alice.user = alice.patch("/users/me", json={"age": None}).json()
        tag, before = tag_of(alice), stored(api)
        for actor in (alice, api.admin):
            answer = actor.request(method, alice.path, json=alice.user)
            assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, alice.user, tag)
        assert stored(api) == before

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_with_one_change_changes_that(self, alice: Actor, method: str) -> None:
        answer = alice.request(method, "/users/me", json=alice.user | {"username": "alicia"})
        assert answer.status_code == 200
        assert answer.json() == alice.user | {"username": "alicia", "updated_at": answer.json()["updated_at"]}

    def test_null_means_keep_to_put_and_clear_to_patch(self, alice: Actor) -> None:
        assert alice.put("/users/me", json={"age": None}).json()["age"] == 30
        assert alice.patch("/users/me", json={"age": None}).json()["age"] is None


@ON_SQLITE
class TestInvalid(Unchanged):
    """S8, S12."""

    @pytest.fixture(scope="class")
    @classmethod
    def alice(cls, api: Api) -> Actor:
        return api.new_actor("alice", age=30)

    @pytest.mark.parametrize("field", ["username", "email", "password", "is_admin", "is_active", "current_password"])
    def test_null_clears_nothing_but_the_age(self, api: Api, alice: Actor, field: str) -> None:
        before = stored(api)
        assert_invalid(api.admin.patch(alice.path, json={"age": None, field: None}), field)
        assert_invalid(alice.patch("/users/me", json={field: None}, headers=MERGE_PATCH), field)
        assert stored(api) == before

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("username", "al"),
            ("username", "no space"),
            ("email", "nowhere"),
            ("password", "short-9"),
            ("password", "Zk4mWq7" + "x" * 66),
            ("password", "Zk4mWq7" + "é" * 33),
            ("password", "Zk4m\0Wq7x"),
            ("age", 0),
            ("age", 121),
            ("is_active", "perhaps"),
        ],
    )
    def test_broken_rule_is_named_and_nothing_changed(self, api: Api, alice: Actor, field: str, value: Any) -> None:
        """S8, S12."""
        before = stored(api)
        assert_invalid(api.admin.patch(alice.path, json={"username": "alicia", field: value} | {field: value}), field)
        assert stored(api) == before

    @pytest.mark.parametrize("body", ["[]", "null", '"text"', "5", "", '[{"op": "remove", "path": "/age"}]'])
    def test_body_must_be_an_object(self, api: Api, alice: Actor, body: str) -> None:
        before = stored(api)
        answer = alice.patch("/users/me", content=body, headers=MERGE_PATCH)
        assert answer.status_code == 422
        assert stored(api) == before
