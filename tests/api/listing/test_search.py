"""Listing users: filters, search and orders."""

import pytest

from tests.support.answers import assert_invalid
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.listing import SORTS, ReadOnly, Row, get, links, listing, matched_name, matches, query_of, sorted_by


class TestFilters(ReadOnly):
    @pytest.mark.parametrize("is_active", [None, True, False])
    @pytest.mark.parametrize("is_admin", [None, True, False])
    @pytest.mark.parametrize("q", [None, "al", "b"])
    def test_all_must_hold(
        self, api: Api, everybody: list[Row], is_active: bool | None, is_admin: bool | None, q: str | None
    ) -> None:
        asked = {"is_active": is_active, "is_admin": is_admin, "q": q}
        given: Row = {name: value for name, value in asked.items() if value is not None}
        wanted = [
            user
            for user in everybody
            if is_active in (None, user["is_active"])
            and is_admin in (None, user["is_admin"])
            and (q is None or matches(user, q))
        ]
        answer = get(api, **given, sort="id", page_size=100, total=True)
        assert answer.json() == wanted
        assert answer.headers["X-Total-Count"] == str(len(wanted))

    @ON_SQLITE
    @pytest.mark.parametrize("name", ["is_admin", "is_active", "total"])
    @pytest.mark.parametrize("value", ["perhaps", "2", "null", "%00"])
    def test_yes_or_no(self, api: Api, name: str, value: str) -> None:
        assert_invalid(api.admin.get(f"/users?{name}={value}"), name)

    @ON_SQLITE
    def test_left_empty_is_none(self, api: Api) -> None:
        """As a form sends a field that nobody filled in."""
        answer = get(api, "q=&is_active=&is_admin=&page_size=2")
        assert answer.json() == listing(api, page_size=2)
        assert {frozenset(query_of(target)) for target in links(answer).values()} == {
            frozenset({"page_size"}),
            frozenset({"page_size", "after"}),
        }


class TestSearch(ReadOnly):
    @pytest.mark.parametrize(
        ("q", "usernames"),
        [
            ("alice", {"alice", "y0"}),
            ("ALICE", {"alice", "y0"}),
            ("alice@", {"alice"}),
            ("ALICE@EXAMPLE.COM", {"alice"}),
            ("alici", {"ALICIA"}),
            ("al.", {"bob_1"}),
            ("bob", {"bob_1", "BOB11"}),
            ("bob_1", {"bob_1"}),
            ("BOB1", {"BOB11"}),
            ("a_", {"a_li"}),
            ("a_li", {"a_li"}),
            ("_", {"_under"}),
            ("b%", {"a_li"}),
            ("b_b", {"ALICIA"}),
            ("b*", {"nine9"}),
            ("%", set()),
            ("*", set()),
            ("?", set()),
            ("[a-z]", set()),
            ("^a", set()),
            ("lice", set()),
            ("example.com", set()),
            ("@", set()),
            ("\\", set()),
            ("\\a", set()),
            ("'", set()),
            ("a' OR '1'='1", set()),
            ("alice--", set()),
            ("STRASSE", {"BOB11", "_under"}),
            ("straß", {"BOB11", "_under"}),
            ("straße9", {"_under"}),
            ("Ü", {"9nine"}),
            ("ü", {"9nine"}),
            ("u\N{COMBINING DIAERESIS}", set()),
            ("u", set()),
            ("9", {"9nine"}),
            (" alice ", {"alice", "y0"}),
            ("\talici\n", {"ALICIA"}),
            ("al ice", set()),
            ("\N{GRINNING FACE}", set()),
            ("\U0010ffff", set()),
            ("x" * 254, set()),
        ],
    )
    def test_finds_by_the_start_of_username_or_email(self, api: Api, q: str, usernames: set[str]) -> None:
        """In any letter case, and no character is a wildcard."""
        answer = get(api, q=q, total=True)
        assert {user["username"] for user in answer.json()} == usernames
        assert len(answer.json()) == len(usernames)
        assert answer.headers["X-Total-Count"] == str(len(usernames))

    @pytest.mark.parametrize("q", ["a", "al", "b", "n"])
    def test_comes_in_the_order_of_the_name_that_matches(self, api: Api, everybody: list[Row], q: str) -> None:
        found = listing(api, q=q, page_size=100)
        assert found == sorted((user for user in everybody if matches(user, q)), key=lambda user: matched_name(user, q))

    @pytest.mark.parametrize("sort", SORTS)
    def test_comes_in_any_order_asked_for(self, api: Api, everybody: list[Row], sort: str) -> None:
        found = listing(api, q="A", sort=sort, page_size=100)
        assert found == sorted_by([user for user in everybody if matches(user, "a")], sort)

    def test_blank_is_the_start_of_every_name(self, api: Api, everybody: list[Row]) -> None:
        assert sorted_by(listing(api, q="  ", page_size=100), "id") == everybody

    @ON_SQLITE
    @pytest.mark.parametrize("query", ["q=%00", "q=al%00ice", f"q={'x' * 255}"])
    def test_odd_prefix_is_invalid(self, api: Api, query: str) -> None:
        """S12."""
        assert_invalid(api.admin.get(f"/users?{query}"), "q")

    @pytest.mark.parametrize("query", ["q=%ED%A0%80", "q=%FF%FE", "q=%F4%8F%BF%BF%F4%8F%BF%BF", "q=%7F%01%1F"])
    def test_odd_bytes_find_nobody(self, api: Api, query: str) -> None:
        """S12."""
        assert listing(api, query) == []


class TestSort(ReadOnly):
    @pytest.mark.parametrize("sort", SORTS)
    def test_every_field_both_ways(self, api: Api, everybody: list[Row], sort: str) -> None:
        """By code point of the name in small letters, the same on every database; id breaks ties."""
        assert listing(api, sort=sort, page_size=100) == sorted_by(everybody, sort)

    @ON_SQLITE
    @pytest.mark.parametrize(
        "sort",
        [
            "",
            "-",
            "age",
            "hashed_password",
            "username_key",
            "ID",
            "--id",
            "+id",
            "id,username",
            "id desc",
            "matched",
            "id%00",
        ],
    )
    def test_anything_else_is_invalid(self, api: Api, sort: str) -> None:
        assert_invalid(api.admin.get(f"/users?sort={sort}"), "sort")
