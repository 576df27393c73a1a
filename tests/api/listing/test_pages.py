"""Listing users: pages by number."""

from typing import Any

import pytest

from tests.support.answers import assert_invalid
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.listing import alone
from tests.support.unchanged import Unchanged


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
        assert alone(api.admin.get("/users").json()) == users

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
        pages = [alone(api.admin.get("/users", params={"page": page, "page_size": 4}).json()) for page in (1, 2, 3)]
        assert pages == [users[:4], users[4:], []]

    @pytest.mark.parametrize(("text", "wanted"), [("true", True), ("false", False), ("1", True), ("0", False)])
    def test_filters_by_is_active(self, api: Api, users: list[dict[str, Any]], text: str, wanted: bool) -> None:
        expected = [user for user in users if user["is_active"] is wanted]
        assert len(expected) == 3
        assert alone(api.admin.get("/users", params={"is_active": text}).json()) == expected
        page = {"is_active": text, "page": 2, "page_size": 2}
        assert alone(api.admin.get("/users", params=page).json()) == expected[2:]

    def test_unknown_parameter_is_invalid(self, api: Api) -> None:
        """A filter misspelt would list everybody."""
        assert_invalid(api.admin.get("/users", params={"isActive": "false"}), "isActive")

    @pytest.mark.parametrize(("page", "page_size"), [(2**31 - 1, 1), (21474836, 100)])
    def test_last_reachable_page_is_empty(self, api: Api, page: int, page_size: int) -> None:
        answer = api.admin.get("/users", params={"page": page, "page_size": page_size})
        assert (answer.status_code, answer.json()) == (200, [])


@ON_SQLITE
class TestInvalid(Unchanged):
    """S12, S18."""

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
