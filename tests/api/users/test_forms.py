"""Errors of forms: what a form needs to show beside its fields, all at once."""

from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.people import NEW_PASSWORD, PASSWORD, WRONG_PASSWORD

BOB = {"username": "Bob", "email": "BOB@example.com"}


def told(answer: Any) -> list[tuple[str, str]]:
    """The fields and codes under `errors`, each of which has words."""
    assert all(error["detail"] for error in answer.json()["errors"])
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


class TestFields:
    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({"username": "bob"}, "username_taken", "username"),
            ({"email": "bob@example.com", "current_password": PASSWORD}, "email_taken", "email"),
            ({"password": NEW_PASSWORD}, "current_password_required", "current_password"),
            (
                {"password": NEW_PASSWORD, "current_password": WRONG_PASSWORD},
                "current_password_incorrect",
                "current_password",
            ),
        ],
    )
    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_are_named(self, api: Api, alice: Actor, method: str, body: dict[str, str], code: str, field: str) -> None:
        api.new_user("bob")
        answer = alice.request(method, alice.path, json=body)
        assert_refused(answer, code)
        assert answer.json()["field"] == field
        assert told(answer) == [(field, code)]


class TestAll:
    """What is wrong is told by one answer: a form needs two rounds at most, for what it is and for what it meets."""

    @pytest.mark.parametrize("path", ["/users", "/register"])
    def test_of_a_new_user(self, open_api: Api, path: str) -> None:
        open_api.new_user("bob")
        answer = open_api.admin.post(path, json={**BOB, "password": "Password1"})
        assert answer.status_code == 422
        assert answer.json()["code"] == "password_too_common"
        assert told(answer) == [
            ("password", "password_too_common"),
            ("password", "password_too_weak"),
            ("username", "username_taken"),
            ("email", "email_taken"),
        ]
        both = open_api.admin.post(path, json={**BOB, "password": PASSWORD})
        assert_refused(both, "username_taken")
        assert told(both) == [("username", "username_taken"), ("email", "email_taken")]

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_of_a_change(self, api: Api, alice: Actor, method: str) -> None:
        api.new_user("bob")
        body = {**BOB, "password": "alllowercase", "current_password": WRONG_PASSWORD}
        answer = alice.request(method, alice.path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
        assert told(answer) == [
            ("password", "password_composition"),
            ("current_password", "current_password_incorrect"),
            ("password", "password_too_weak"),
            ("username", "username_taken"),
            ("email", "email_taken"),
        ]
        assert alice.get(alice.path).json() == alice.user

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_of_two_names_decided_by_the_index(self, api: Api, alice: Actor, method: str) -> None:
        api.new_user("bob")
        answer = api.admin.request(method, alice.path, json=BOB)
        assert_refused(answer, "username_taken")
        assert told(answer) == [("username", "username_taken"), ("email", "email_taken")]
        own = api.admin.request(method, alice.path, json={"username": "ALICE", "email": "bob@example.com"})
        assert_refused(own, "email_taken")
        assert told(own) == [("email", "email_taken")]


@ON_SQLITE
class TestRules:
    """A program can say each broken rule in its own words: its type, and its limits."""

    @pytest.mark.parametrize(
        ("field", "value", "rule", "limits"),
        [
            ("username", "al", "string_too_short", {"min_length": 3}),
            ("username", "a" * 21, "string_too_long", {"max_length": 20}),
            ("username", "no space", "string_pattern_mismatch", {"pattern": "^[a-zA-Z0-9_]+$"}),
            ("email", "nowhere", "email_invalid", None),
            ("email", f"{'ß' * 120}@{'x' * 60}.example.com", "email_invalid", None),
            ("password", "Zk4m-", "string_too_short", {"min_length": 8}),
            ("password", "Zk4m" + "é" * 40, "password_too_long", {"max_bytes": 72}),
            ("age", 0, "greater_than_equal", {"ge": 1}),
            ("age", 121, "less_than_equal", {"le": 120}),
            ("age", True, "age_invalid", None),
            ("is_admin", "perhaps", "bool_parsing", None),
        ],
    )
    def test_has_a_type_and_its_limits(
        self, api: Api, field: str, value: Any, rule: str, limits: dict[str, Any] | None
    ) -> None:
        body = {"username": "carol", "email": "carol@example.com", "password": PASSWORD, field: value}
        answer = api.admin.post("/users", json=body)
        assert answer.status_code == 422
        [item] = answer.json()["detail"]
        assert (item["loc"], item["type"], item.get("ctx")) == (["body", field], rule, limits)
        assert told(answer) == [(field, rule)]

    def test_place_is_in_texts(self, api: Api) -> None:
        answer = api.admin.post("/users", content=b'{"age": }', headers={"Content-Type": "application/json"})
        [item] = answer.json()["detail"]
        assert item["loc"] == ["body", "8"]

    @pytest.mark.parametrize("query", ["page=2147483647&page_size=100", "after=x", "q=" + "x" * 255, "sort=age"])
    def test_of_a_list_have_types_too(self, api: Api, query: str) -> None:
        types = {item["type"] for item in api.admin.get(f"/users?{query}").json()["detail"]}
        assert len(types & {"page_out_of_reach", "cursor_invalid", "string_too_long", "literal_error"}) == 1
