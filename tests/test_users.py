"""Users: made, listed, read, changed and deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service import (
    ADMIN_PASSWORD,
    PASSWORD,
    Api,
    assert_invalid,
    assert_refused,
)

NEW_PASSWORD = "Other-Saddle-8"
PUBLIC = {"id", "username", "email", "age", "is_admin", "is_active", "created_at", "updated_at"}

# Values that break a field's rule, on create and on update.
INVALID_VALUES: dict[str, list[Any]] = {
    "username": ["", "ab", "a" * 21, "a b c", "anna-lena", "ännchen", "alice\n", "ali.ce", "a@b.de", "alice\0", 123],
    "email": [
        "",
        "alice",
        "@example.com",
        "alice@",
        "a b@example.com",
        "alice@example.com\n",
        "alice@localhost",
        "alice\0@example.com",
        "a@" + ".".join(["b" * 63] * 4) + ".com",
        5,
    ],
    "password": [
        "",
        "Zk4mWq7",
        "zk4mwq7x",
        "ZK4MWQ7X",
        "ZkxmWqyx",
        "Zk4mWq7" + "x" * 66,
        "Zk4mWq7" + "é" * 33,
        "Zk4m\0Wq7x",
        12345678,
    ],
    "age": [0, -1, 121, 2**31, 2**63, 10**18, 1.5, True, "old", []],
    "is_admin": ["perhaps", 2, {}],
}
INVALID = [(field, value) for field, values in INVALID_VALUES.items() for value in values]
VALID: list[tuple[str, Any]] = [
    ("username", "bob"),
    ("username", "B" * 20),
    ("username", "_0_"),
    ("email", "a.b+c@sub.example.com"),
    ("email", "ä@example.com"),
    ("email", "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com"),
    ("age", 1),
    ("age", 120),
]


def ids(value: Any) -> str:
    return ascii(value)[:30]


def body_of(username: str = "alice", **fields: Any) -> dict[str, Any]:
    return {"username": username, "email": f"{username.lower()}@example.com", "password": PASSWORD, **fields}


def instant(text: str) -> datetime:
    """A time of an answer; it says its zone."""
    parsed = datetime.fromisoformat(text)
    assert parsed.utcoffset() == timedelta(0), text
    return parsed


def stored(api: Api) -> list[Any]:
    return api.sql("SELECT * FROM users ORDER BY id")


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

    @pytest.mark.parametrize("field", ["username", "email", "password"])
    def test_required_field_must_be_there(self, api: Api, field: str) -> None:
        for body in (body_of() | {field: None}, {name: value for name, value in body_of().items() if name != field}):
            answer = api.admin.post("/users", json=body)
            assert_invalid(answer, field)
            assert PASSWORD not in answer.text

    @pytest.mark.parametrize(("field", "value"), INVALID, ids=ids)
    def test_broken_rule_is_named_and_nothing_made(self, api: Api, field: str, value: Any) -> None:
        """S8, S12."""
        before = stored(api)
        answer = api.admin.post("/users", json=body_of() | {field: value})
        assert_invalid(answer, field)
        assert stored(api) == before

    @pytest.mark.parametrize(("field", "value"), VALID, ids=ids)
    def test_value_at_the_edge_of_a_rule_is_fine(self, api: Api, field: str, value: Any) -> None:
        user = api.new_user(**{"username": "alice", field: value})
        assert user[field] == value
        assert api.admin.get(f"/users/{user['id']}").json() == user

    @pytest.mark.parametrize(
        "password",
        ["Zk4mWq7x", "Zk4mWq7x" + "y" * 64, "Zk4m Wq7x", "éàÜ4mWq7", "Zk4mWq7" + "é" * 32, "Жёл4mWq\N{GRINNING FACE}"],
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


class TestList:
    @pytest.fixture
    def users(self, api: Api) -> list[dict[str, Any]]:
        """Six users in the order of their ids, the admin first; every second one inactive."""
        users = [api.admin.user]
        for number in range(1, 6):
            user = api.new_user(f"user{number}")
            if number % 2:
                user = api.admin.put(f"/users/{user['id']}", json={"is_active": False}).json()
            users.append(user)
        return users

    def test_answers_all_in_the_order_of_their_ids(self, api: Api, users: list[dict[str, Any]]) -> None:
        assert api.admin.get("/users").json() == users

    def test_answers_ten_at_most_unless_asked(self, api: Api) -> None:
        api.sql(
            "INSERT INTO users (username, username_key, email, email_key, hashed_password, is_admin, is_active,"
            " created_at, version) VALUES "
            + ", ".join(
                f"('user{n}', 'user{n}', 'user{n}', 'user{n}', '', false, true, CURRENT_TIMESTAMP, 1)"
                for n in range(120)
            )
        )
        names = [user["username"] for user in api.admin.get("/users").json()]
        assert names == ["admin", *(f"user{n}" for n in range(9))]
        assert len(api.admin.get("/users", params={"page_size": 100}).json()) == 100
        assert len(api.admin.get("/users", params={"page_size": 100, "page": 2}).json()) == 21

    def test_pages_follow_each_other(self, api: Api, users: list[dict[str, Any]]) -> None:
        pages = [api.admin.get("/users", params={"page": page, "page_size": 4}).json() for page in (1, 2, 3)]
        assert pages == [users[:4], users[4:], []]

    @pytest.mark.parametrize(("text", "wanted"), [("true", True), ("false", False), ("1", True), ("0", False)])
    def test_filters_by_is_active(self, api: Api, users: list[dict[str, Any]], text: str, wanted: bool) -> None:
        expected = [user for user in users if user["is_active"] is wanted]
        assert len(expected) == 3
        assert api.admin.get("/users", params={"is_active": text}).json() == expected
        page = {"is_active": text, "page": 2, "page_size": 2}
        assert api.admin.get("/users", params=page).json() == expected[2:]

    def test_unknown_parameters_are_ignored(self, api: Api, users: list[dict[str, Any]]) -> None:
        assert api.admin.get("/users", params={"shoe_size": "44"}).json() == users

    @pytest.mark.parametrize(
        ("query", "wrong"),
        [
            ("page=0", {"page"}),
            ("page=-1", {"page"}),
            ("page=one", {"page"}),
            ("page=1.5", {"page"}),
            ("page=", {"page"}),
            ("page_size=0", {"page_size"}),
            ("page_size=-1", {"page_size"}),
            ("page_size=101", {"page_size"}),
            ("page_size=many", {"page_size"}),
            ("is_active=perhaps", {"is_active"}),
            ("page=0&page_size=0&is_active=7", {"page", "page_size", "is_active"}),
        ],
    )
    def test_parameter_out_of_bounds_is_invalid(self, api: Api, query: str, wrong: set[str]) -> None:
        """S18."""
        assert_invalid(api.admin.get(f"/users?{query}"), *wrong)

    @pytest.mark.parametrize(
        ("page", "page_size"), [(2**31, 1), (2**30, 2), (21474837, 100), (2**63, 10), (10**18, 1), (10**30, 100)]
    )
    def test_page_beyond_2_to_the_31_rows_is_invalid(self, api: Api, page: int, page_size: int) -> None:
        """S12."""
        answer = api.admin.get("/users", params={"page": page, "page_size": page_size})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")

    @pytest.mark.parametrize(("page", "page_size"), [(2**31 - 1, 1), (21474836, 100)])
    def test_last_reachable_page_is_empty(self, api: Api, page: int, page_size: int) -> None:
        answer = api.admin.get("/users", params={"page": page, "page_size": page_size})
        assert (answer.status_code, answer.json()) == (200, [])


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

    @pytest.mark.parametrize("user_id", [0, -1, 2**31, 2**63, 10**18, "alice", "1.5", "ME", "me%20", "%00"])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_id_out_of_bounds_is_invalid(self, api: Api, method: str, user_id: Any) -> None:
        """S12."""
        answer = api.admin.request(method, f"/users/{user_id}", json={})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


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
        ids=ids,
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

    @pytest.mark.parametrize(("field", "value"), [*INVALID, ("is_active", "perhaps"), ("is_active", [])], ids=ids)
    def test_broken_rule_is_named_and_nothing_changed(self, api: Api, field: str, value: Any) -> None:
        """S8, S12."""
        user = api.new_user("alice")
        before = stored(api)
        assert_invalid(api.admin.put(f"/users/{user['id']}", json={"age": 99, field: value}), field)
        assert stored(api) == before

    @pytest.mark.parametrize(("field", "value"), VALID, ids=ids)
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
        ids=ids,
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

    @pytest.mark.parametrize(
        "changes", [{"is_admin": True}, {"is_active": False}, {"is_admin": True, "age": 9}], ids=ids
    )
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


class TestCurrentPassword:
    """S15: who holds just a token cannot take the account."""

    GUARDED = pytest.mark.parametrize("changes", [{"password": NEW_PASSWORD}, {"email": "new@example.com"}], ids=ids)

    @GUARDED
    @pytest.mark.parametrize("is_admin", [False, True])
    @pytest.mark.parametrize(
        ("given", "code"),
        [
            ({}, "current_password_required"),
            ({"current_password": None}, "current_password_required"),
            ({"current_password": ""}, "current_password_incorrect"),
            ({"current_password": PASSWORD.lower()}, "current_password_incorrect"),
            ({"current_password": NEW_PASSWORD}, "current_password_incorrect"),
            ({"current_password": PASSWORD + "\0"}, "current_password_incorrect"),
            ({"current_password": PASSWORD + "x" * 80}, "current_password_incorrect"),
        ],
        ids=ids,
    )
    def test_own_password_or_email_needs_it(
        self, api: Api, changes: dict[str, Any], is_admin: bool, given: dict[str, Any], code: str
    ) -> None:
        alice = api.new_actor("alice", is_admin=is_admin)
        before = stored(api)
        path = alice.path if is_admin else "/users/me"
        assert_refused(alice.put(path, json={"age": 99, **changes, **given}), code)
        assert stored(api) == before
        assert alice.get("/users/me").status_code == 200

    @GUARDED
    def test_right_one_lets_the_change_through(self, api: Api, changes: dict[str, Any]) -> None:
        alice = api.new_actor("alice")
        answer = alice.put("/users/me", json={**changes, "current_password": PASSWORD})
        assert answer.status_code == 200
        assert answer.json()["updated_at"] is not None
        assert PASSWORD not in answer.text
        api.log_in(answer.json()["email"], changes.get("password", PASSWORD))

    def test_admin_needs_none_for_another(self, api: Api) -> None:
        alice = api.new_user("alice")
        changes = {"password": NEW_PASSWORD, "email": "new@example.com"}
        assert api.admin.put(f"/users/{alice['id']}", json=changes).status_code == 200
        api.log_in("new@example.com", NEW_PASSWORD)

    def test_other_changes_need_none(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.put("/users/me", json={"username": "alicia", "age": 9}).status_code == 200

    def test_new_password_must_fit_the_rule(self, api: Api) -> None:
        alice = api.new_actor("alice")
        answer = alice.put("/users/me", json={"password": "short-9", "current_password": PASSWORD})
        assert_invalid(answer, "password")
        assert PASSWORD not in answer.text
        api.log_in("alice")


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
        assert_refused(alice.get("/users/me"), "invalid_token")
        assert api.sql("SELECT * FROM users WHERE id = :id", id=alice.id) == []
        assert api.sql("SELECT * FROM login_sessions WHERE user_id = :id", id=alice.id) == []
        assert api.admin.get("/users/me").status_code == 200


class TestLastAdmin:
    LOSING = pytest.mark.parametrize(
        ("method", "changes"), [("DELETE", None), ("PUT", {"is_admin": False}), ("PUT", {"is_active": False})], ids=ids
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
