"""Making users: POST /users."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.people import PASSWORD
from tests.support.unchanged import Unchanged
from tests.support.users import INVALID, PUBLIC, VALID, body_of, instant, stored


class TestCreate:
    def test_answers_201_the_user_and_where_it_is(self, api: Api) -> None:
        before = datetime.now(UTC)
        answer = api.admin.post("/users", json=body_of("alice", age=42))
        assert answer.status_code == 201
        user = answer.json()
        assert user.keys() == PUBLIC
        assert user["username"] == "alice"
        assert user["email"] == "alice@example.com"
        assert (user["age"], user["is_admin"], user["is_active"], user["updated_at"]) == (42, False, True, None)
        assert before <= instant(user["created_at"]) <= datetime.now(UTC)
        assert answer.headers["Location"] == f"/users/{user['id']}"
        assert api.admin.get(answer.headers["Location"]).json() == user

    def test_new_user_can_log_in(self, api: Api) -> None:
        assert api.new_actor("alice").get("/users/me").status_code == 200

    def test_password_is_kept_as_a_bcrypt_hash_only(self, api: Api) -> None:
        """S11."""
        api.new_user("alice")
        [(hashed,)] = api.sql("SELECT hashed_password FROM users WHERE username = 'alice'")
        assert hashed.startswith("$2b$04$")
        assert PASSWORD not in str(stored(api))

    def test_makes_an_admin_if_asked(self, api: Api) -> None:
        boss = api.new_actor("boss", is_admin=True)
        assert boss.user["is_admin"] is True
        assert boss.get("/users").status_code == 200

    def test_null_means_absent_where_a_field_may_be_left_out(self, api: Api) -> None:
        user = api.new_user("alice", age=None, is_admin=None)
        assert (user["age"], user["is_admin"]) == (None, False)

    @pytest.mark.parametrize(("field", "value"), VALID)
    def test_value_at_the_edge_of_a_rule_is_fine(self, api: Api, field: str, value: Any) -> None:
        user = api.new_user(**{"username": "alice", field: value})
        assert user[field] == value
        assert api.admin.get(f"/users/{user['id']}").json() == user

    @pytest.mark.parametrize(
        "password",
        [
            "Zk4m-Wq7x",
            "Zk4mWq7x" + "y" * 64,
            "Zk4m Wq7x",
            "éàÜ4mWq7x",
            "Zk4mWq7" + "é" * 32,
            "Жёл4mWqx\N{GRINNING FACE}",
        ],
    )
    def test_any_password_within_the_rule_logs_in(self, api: Api, password: str) -> None:
        """S8."""
        api.new_actor("alice", password=password)

    def test_unknown_and_read_only_keys_are_ignored(self, api: Api) -> None:
        """S4."""
        extra = {
            "id": 999_999,
            "hashed_password": "x",
            "is_active": False,
            "created_at": "2001-01-01T00:00:00Z",
            "updated_at": "2001-01-01T00:00:00Z",
            "version": 77,
            "username_key": "other",
            "current_password": "x",
            "shoe_size": 44,
        }
        user = api.new_user("alice", **extra)
        assert user.keys() == PUBLIC
        assert user["id"] != 999_999
        assert user["is_active"] is True
        assert user["updated_at"] is None
        assert instant(user["created_at"]).year > 2001
        assert api.log_in("alice").id == user["id"]

    @pytest.mark.parametrize("username", ["alice", "ALICE", "Alice"])
    def test_taken_username_in_any_case(self, api: Api, username: str) -> None:
        """S5."""
        api.new_user("alice")
        before = stored(api)
        assert_refused(api.admin.post("/users", json=body_of(username, email="b@example.com")), "username_taken")
        assert stored(api) == before

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("alice@example.com", "alice@example.com"),
            ("alice@example.com", "ALICE@Example.COM"),
            ("ÄNNE@example.com", "änne@example.com"),
            ("straße@example.com", "STRASSE@example.com"),  # what folding finds, and small letters alone do not
            ("ΟΔΟΣ@example.com", "οδοσ@example.com"),
        ],
    )
    def test_taken_email_in_any_case(self, api: Api, first: str, second: str) -> None:
        """S5."""
        api.new_user("alice", email=first)
        assert_refused(api.admin.post("/users", json=body_of("bob", email=second)), "email_taken")

    def test_taken_username_is_reported_before_taken_email(self, api: Api) -> None:
        api.new_user("alice")
        api.new_user("bob")
        assert_refused(api.admin.post("/users", json=body_of("alice")), "username_taken")
        assert_refused(api.admin.post("/users", json=body_of("alice", email="bob@example.com")), "username_taken")

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("anna@example.com", "ánna@example.com"),
            ("a.b@example.com", "ab@example.com"),
            ("a_b@example.com", "axb@example.com"),
            ("i@example.com", "\N{LATIN SMALL LETTER DOTLESS I}@example.com"),
        ],
    )
    def test_different_emails_are_different_on_every_database(self, api: Api, first: str, second: str) -> None:
        """S5."""
        api.new_user("alice", email=first)
        assert api.new_user("bob", email=second)["email"] == second

    def test_deleted_name_is_free_again(self, api: Api) -> None:
        first = api.new_user("alice")
        assert api.admin.delete(f"/users/{first['id']}").status_code == 200
        assert api.new_user("alice")["id"] != first["id"]


@ON_SQLITE
class TestInvalid(Unchanged):
    """S8, S12."""

    @pytest.mark.parametrize("field", ["username", "email", "password"])
    def test_required_field_must_be_there(self, api: Api, field: str) -> None:
        for body in (body_of() | {field: None}, {name: value for name, value in body_of().items() if name != field}):
            answer = api.admin.post("/users", json=body)
            assert_invalid(answer, field)
            assert PASSWORD not in answer.text

    @pytest.mark.parametrize(("field", "value"), INVALID)
    def test_broken_rule_is_named_and_nothing_made(self, api: Api, field: str, value: Any) -> None:
        """S8, S12."""
        before = stored(api)
        answer = api.admin.post("/users", json=body_of() | {field: value})
        assert_invalid(answer, field)
        assert stored(api) == before
