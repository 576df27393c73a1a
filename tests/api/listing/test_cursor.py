"""Listing users: pages by cursor."""

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.answers import assert_invalid
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.listing import (
    SORTS,
    ReadOnly,
    Row,
    add,
    alone,
    everybody_of,
    get,
    links,
    listing,
    matched_name,
    matches,
    query_of,
    sorted_by,
    walk,
)

PAGE_SIZES = [1, 2, 3, 7]


class TestCursor(ReadOnly):
    @pytest.mark.parametrize("sort", [None, *SORTS])
    def test_next_leads_through_all(self, api: Api, everybody: list[Row], sort: str | None) -> None:
        order = {} if sort is None else {"sort": sort}
        for page_size in PAGE_SIZES:
            pages = list(walk(api, **order, page_size=page_size))
            assert [user for page in pages for user in page] == sorted_by(everybody, sort or "id")
            assert {len(page) for page in pages[:-1]} <= {page_size}
            assert pages[-1]

    @pytest.mark.parametrize("q", ["a", "b", "al"])
    @pytest.mark.parametrize("is_active", [None, True])
    def test_next_leads_through_a_search(self, api: Api, everybody: list[Row], q: str, is_active: bool | None) -> None:
        given: dict[str, Any] = {"q": q} | ({} if is_active is None else {"is_active": is_active})
        wanted = [user for user in everybody if matches(user, q) and is_active in (None, user["is_active"])]
        for page_size in PAGE_SIZES:
            found = [user for page in walk(api, **given, page_size=page_size) for user in page]
            assert found == sorted(wanted, key=lambda user: matched_name(user, q))

    @pytest.mark.parametrize("sort", ["username", "-email", "created_at", "-created_at"])
    @pytest.mark.parametrize("q", ["a", "B"])
    def test_next_leads_through_a_search_in_any_order(self, api: Api, everybody: list[Row], sort: str, q: str) -> None:
        pages = list(walk(api, q=q, sort=sort, page_size=2))
        assert [user for page in pages for user in page] == sorted_by(
            [user for user in everybody if matches(user, q)], sort
        )

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"q": "a"},
            {"q": "alice"},
            {"q": "b", "is_active": True},
            {"q": "B", "sort": "-created_at"},
            {"is_active": True},
        ]
        + [{"sort": sort} for sort in SORTS],
    )
    def test_prev_leads_back_the_same_way(self, api: Api, given: Row) -> None:
        for page_size in PAGE_SIZES:
            answers = [get(api, **given, page_size=page_size)]
            while target := links(answers[-1]).get("next"):
                answers.append(api.admin.get(target))
            assert "prev" not in links(answers[0])
            back = answers[-1]
            for there in reversed(answers[:-1]):
                back = api.admin.get(links(back)["prev"])
                assert (back.status_code, back.json()) == (200, there.json())
                assert api.admin.get(links(back)["next"]).json() == answers[answers.index(there) + 1].json()
            assert len(answers) == 1 or "prev" not in links(back)

    @ON_SQLITE
    def test_before_is_the_page_that_ends_there(self, api: Api, everybody: list[Row]) -> None:
        """Fewer than a page are all there are; a cursor of one direction serves in the other."""
        after_five = query_of(links(get(api, page_size=5))["next"])["after"]
        assert listing(api, before=after_five, page_size=2) == everybody[2:4]
        assert listing(api, before=after_five, page_size=9) == everybody[:4]
        assert links(get(api, before=after_five, page_size=9)).keys() == {"first", "next"}

    def test_filters_may_change_on_the_way(self, api: Api, everybody: list[Row]) -> None:
        target = links(get(api, page_size=3))["next"]
        found = listing(api, after=query_of(target)["after"], is_active=False, page_size=100)
        assert found == [user for user in everybody[3:] if not user["is_active"]]

    def test_it_stands_for_the_same_place_every_time(self, api: Api) -> None:
        target = links(get(api, sort="email", page_size=3))["next"]
        assert get(api, urlsplit(target).query).json() == get(api, urlsplit(target).query).json()
        assert links(get(api, sort="email", page_size=3))["next"] == target

    @pytest.mark.parametrize("made_for", [None, "id", "-id", "username", "-username", "-email", "created_at", "q"])
    @pytest.mark.parametrize("used_for", [None, "id", "-id", "username", "email", "-created_at", "q"])
    @ON_SQLITE
    def test_of_another_order_is_invalid(self, api: Api, made_for: str | None, used_for: str | None) -> None:
        def order(name: str | None) -> Row:
            return {} if name is None else {"q": "a"} if name == "q" else {"sort": name}

        cursor = query_of(links(get(api, **order(made_for), page_size=1))["next"])["after"]
        answer = api.admin.get("/users", params={**order(used_for), "after": cursor})
        if (made_for or "id") == (used_for or "id"):
            assert answer.status_code == 200
        else:
            assert_invalid(answer)
            assert "after" in answer.text

    @pytest.mark.parametrize(
        ("sort", "cursor"),
        [
            ("id", text)
            for text in (b"", b"id", b"id:", b"id:[]", b"id:[0]", b"id:[-1]", b"id:[2147483648]", b"id:[1e400]")
        ]
        + [
            ("id", b"id:[" + b"9" * 1000 + b"]"),
            ("id", b"id:[1,2]"),
            ("id", b"id:[null]"),
            ("id", b"id:[NaN]"),
            ("id", b'id:["x"]'),
            ("id", b"id:[1.5]"),
            ("id", b'id:{"0":1}'),
            ("id", b"id:" + b"[" * 1000),
            ("id", b"id:[1]x"),
            ("id", b"ID:[1]"),
            ("id", b"\xff\xfe:[1]"),
            ("-id", b"id:[1]"),
            ("username", b"username:[1]"),
            ("username", b'username:["\\u0000"]'),
            ("username", b'username:["a\\u0000b"]'),
            ("username", b'username:["\\ud800"]'),
            ("username", b'username:["\xed\xa0\x80"]'),
            ("username", b'username:["' + b"x" * 300 + b'"]'),
            ("email", b'email:["a","b"]'),
            ("created_at", b'created_at:["2025-01-01T00:00:00Z"]'),
            ("created_at", b'created_at:["2025-01-01T00:00:00",1]'),
            ("created_at", b'created_at:["9999-12-31T23:59:59Z",1]'),
            ("created_at", b'created_at:["9999-12-31T23:59:59-23:59",1]'),
            ("created_at", b'created_at:["0001-01-01T00:00:00Z",1]'),
            ("created_at", b'created_at:["0001-01-01T00:00:00+23:59",1]'),
            ("created_at", b'created_at:["1969-12-31T23:59:59Z",1]'),
            ("created_at", b'created_at:["10000-01-01T00:00:00Z",1]'),
            ("created_at", b'created_at:["2025-13-01T00:00:00Z",1]'),
            ("created_at", b'created_at:["2025-01-01T00:00:00Z",2147483648]'),
            ("created_at", b'created_at:["now",1]'),
            ("created_at", b"created_at:[1e300,1]"),
            ("created_at", b"created_at:[-1e18,1]"),
            ("created_at", b"created_at:[" + b"9" * 400 + b",1]"),
        ],
    )
    @ON_SQLITE
    def test_that_the_service_never_made_is_invalid(self, api: Api, sort: str, cursor: bytes) -> None:
        """S12."""
        encoded = base64.urlsafe_b64encode(cursor).decode().rstrip("=")
        answer = api.admin.get("/users", params={"sort": sort, "after": encoded})
        assert_invalid(answer)
        assert "after" in answer.text

    @ON_SQLITE
    @pytest.mark.parametrize(
        "cursor",
        ["x", "=", "====", "aWQ6WzFd=x", "aWQ6 WzFd", "a%00b", "é", "%ED%A0%80", "%FF", "+/+/", "aWQ6WzFdaWQ6WzFd" * 9],
    )
    def test_that_is_no_base64_of_one_is_invalid(self, api: Api, cursor: str) -> None:
        """S12."""
        assert_invalid(api.admin.get(f"/users?after={cursor}"))

    @pytest.mark.parametrize(
        ("sort", "cursor"),
        [
            ("id", b"id:[2147483647]"),
            ("-id", b"-id:[1]"),
            ("username", b'username:["\xf4\x8f\xbf\xbf"]'),
            ("-username", b'-username:[""]'),
            ("email", b'email:["\xf0\x9f\x98\x80"]'),
            ("created_at", b'created_at:["8999-12-31T23:59:59.999999Z",2147483647]'),
            ("-created_at", b'-created_at:["1970-01-01T00:00:01Z",1]'),
        ],
    )
    def test_at_the_edge_leads_to_nobody(self, api: Api, sort: str, cursor: bytes) -> None:
        """S12."""
        encoded = base64.urlsafe_b64encode(cursor).decode().rstrip("=")
        answer = get(api, sort=sort, after=encoded)
        if sort == "-id":
            assert [user["id"] for user in answer.json() if user["id"] != 1] == []
        else:
            assert answer.json() == []
        assert "next" not in links(answer)

    @ON_SQLITE
    @pytest.mark.parametrize("page", [1, 2])
    def test_and_page_exclude_each_other(self, api: Api, page: int) -> None:
        cursor = query_of(links(get(api, page_size=1))["next"])["after"]
        assert_invalid(api.admin.get("/users", params={"after": cursor, "page": page}))

    @ON_SQLITE
    @pytest.mark.parametrize("name", ["after", "before"])
    def test_empty_is_invalid(self, api: Api, name: str) -> None:
        assert_invalid(api.admin.get(f"/users?{name}="))

    @ON_SQLITE
    def test_one_place_at_a_time(self, api: Api) -> None:
        cursor = query_of(links(get(api, page_size=1))["next"])["after"]
        for query in (f"after={cursor}&before={cursor}", f"before={cursor}&page=1"):
            answer = api.admin.get(f"/users?{query}")
            assert_invalid(answer)
            assert answer.json()["detail"][0]["type"] == "pages_exclude_each_other"


class TestChangingUsers:
    """Between one page and the next."""

    def test_users_made_through_the_service_come_in_the_order_they_were_made(self, api: Api) -> None:
        made = [api.new_user(f"user{number}") for number in range(5)]
        assert alone(listing(api, sort="created_at"))[1:] == made
        assert alone(listing(api, sort="-created_at"))[:-1] == made[::-1]

    @pytest.mark.parametrize("sort", [None, *SORTS])
    def test_users_that_come_and_go_meanwhile_disturb_no_others(self, api: Api, sort: str | None) -> None:
        everybody = everybody_of(api)
        order = {} if sort is None else {"sort": sort}
        wanted = sorted_by([user for user in everybody if user["username"] != "admin"], sort or "id")
        pages = walk(api, **order, page_size=3)
        seen = next(pages)
        gone = [seen[0], seen[-1], wanted[-1]]  # among them the one the cursor stands on
        gone = [user for user in gone if user["username"] != "admin"]
        for user in gone:
            api.sql("DELETE FROM users WHERE id = :id", id=user["id"])
        add(api, ("000first", "000first@example.com", -50), ("zzz", "zzz@example.com", 50))
        seen += [user for page in pages for user in page]
        newcomers = {"000first", "zzz", "admin"}
        old = [user for user in seen if user["username"] not in newcomers]
        assert old == [user for user in wanted if user not in gone or user in seen[:3]]
        assert len({user["id"] for user in seen}) == len(seen)

    def test_search_goes_on_past_users_that_come_and_go(self, api: Api) -> None:
        everybody = everybody_of(api)
        pages = walk(api, q="a", page_size=2)
        seen = next(pages)
        assert [user["username"] for user in seen] == ["a_li", "admin"]
        api.sql("DELETE FROM users WHERE id = :id", id=seen[0]["id"])
        add(api, ("A", "a@example.com", 9), ("azzz", "0azzz@example.com", 9))
        seen += [user for page in pages for user in page]
        wanted = sorted((user for user in everybody if matches(user, "a")), key=lambda user: matched_name(user, "a"))
        assert [user for user in seen if user["username"] not in {"A", "azzz"}] == wanted
        assert len({user["id"] for user in seen}) == len(seen)
        assert seen[-1]["username"] == "azzz"

    @pytest.mark.parametrize("by", ["username", "email"])
    def test_search_that_matches_one_name_of_each_goes_on(self, api: Api, by: str) -> None:
        for number in range(3):
            names = (f"zz{number}", f"other{number}")
            username, address = names if by == "username" else names[::-1]
            add(api, (username, f"{address}@example.com", number))
        pages = list(walk(api, q="zz", page_size=2))
        assert [[user[by][:3] for user in page] for page in pages] == [["zz0", "zz1"], ["zz2"]]
