"""Listing users: filters, search, orders, cursors, Link and totals."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import sqlalchemy as sa

from tests.service import ON_SQLITE, Api, Server, assert_invalid
from userapi.models import User, canonical, now

Row = dict[str, Any]

SORTS = ["id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]
# Names that sort differently by letter case, by locale and by code point; several of one instant.
PEOPLE = [
    ("Zoe", "zoe@example.com", 0, True, False),
    ("alice", "Alice@Example.com", 0, True, True),
    ("ALICIA", "b_b@example.com", 0, False, False),
    ("a_li", "b%b@example.com", 1, True, False),
    ("axli", "bxb@example.com", 2, True, False),
    ("bob_1", "al.bob@example.com", 2, True, True),
    ("BOB11", "strasse@example.com", 2, False, True),
    ("_under", "straße9@example.com", 3, True, False),
    ("9nine", "ünal@example.com", 4, True, False),
    ("nine9", "b*b@example.com", 4, False, False),
    ("y0", "alice2@example.com", 5, True, False),
]


def columns(username: str, email: str, seconds: float, is_active: bool = True, is_admin: bool = False) -> Row:
    return {
        "username": username,
        "username_key": canonical(username),
        "email": email,
        "email_key": canonical(email),
        "hashed_password": "!",
        "is_active": is_active,
        "is_admin": is_admin,
        "created_at": CREATED + timedelta(seconds=seconds),
        "version": 1,
    }


CREATED = now() - timedelta(days=1)


def add(api: Api, *people: tuple[Any, ...]) -> None:
    """Users, past the service: in quick succession and of any age."""
    api.execute(sa.insert(User), [columns(*person) for person in people])


def everybody_of(api: Api) -> list[Row]:
    """All users there are, as the service shows them, by id."""
    add(api, *PEOPLE)
    listed = listing(api, page_size=100)
    assert len(listed) == len(PEOPLE) + 1
    return listed


class ReadOnly:
    """Tests that only read share their users."""

    @pytest.fixture(scope="class")
    @classmethod
    def api(cls, server: Server) -> Iterator[Api]:
        api = Api(server)
        yield api
        api.close()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def everybody(cls, api: Api) -> list[Row]:
        return everybody_of(api)


def get(api: Api, query: str = "", **parameters: Any) -> Any:
    answer = api.admin.get(f"/users?{query or urlencode(_texts(parameters))}")
    assert answer.status_code == 200, answer.text
    return answer


def _texts(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in parameters.items()}


def listing(api: Api, query: str = "", **parameters: Any) -> list[Row]:
    listed: list[Row] = get(api, query, **parameters).json()
    return listed


def links(answer: Any) -> dict[str, str]:
    """The targets of a `Link` header by their relation (RFC 8288), each of which must be a relative reference."""
    found = re.findall(r'<([^<>"\s]*)>; rel="(\w+)"', answer.headers["Link"])
    assert ", ".join(f'<{target}>; rel="{relation}"' for target, relation in found) == answer.headers["Link"]
    assert len({relation for _, relation in found}) == len(found)
    for target, _ in found:
        assert urlsplit(target)[:3] == ("", "", "/users"), target
    return {relation: target for target, relation in found}


def query_of(target: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=bool(urlsplit(target).query))
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def walk(api: Api, **parameters: Any) -> Iterator[list[Row]]:
    """The pages that one comes to by rel="next"."""
    answer = get(api, **parameters)
    yield answer.json()
    while target := links(answer).get("next"):
        answer = api.admin.get(target)
        assert answer.status_code == 200, answer.text
        yield answer.json()


def matches(user: Row, q: str) -> bool:
    return any(canonical(user[name]).startswith(canonical(q)) for name in ("username", "email"))


def matched_name(user: Row, q: str) -> str:
    return next(canonical(user[name]) for name in ("username", "email") if canonical(user[name]).startswith(q))


def sort_key(sort: str) -> Callable[[Row], Any]:
    keys: dict[str, Callable[[Row], Any]] = {
        "id": lambda user: user["id"],
        "username": lambda user: canonical(user["username"]),
        "email": lambda user: canonical(user["email"]),
        "created_at": lambda user: (datetime.fromisoformat(user["created_at"]), user["id"]),
    }
    return keys[sort.removeprefix("-")]


def sorted_by(users: list[Row], sort: str) -> list[Row]:
    return sorted(users, key=sort_key(sort), reverse=sort.startswith("-"))


class TestForm:
    def test_is_the_same_in_a_list_as_alone(self, api: Api) -> None:
        """Whoever writes the JSON of a list: whole seconds, long ago and far ahead, characters that JSON escapes."""
        whole, odd = (
            datetime(2024, 5, 17, 9, 30, tzinfo=UTC),
            "a\"\\/\b\f\n\r\t\x01\x7f\u2028é\U0001f600}'%:x@example.com",
        )
        people = [
            columns("whole_second", "whole@example.com", 0) | {"created_at": whole, "updated_at": whole},
            columns("odd", odd, 0, is_active=False) | {"age": 1, "updated_at": whole + timedelta(microseconds=120)},
            columns("old", "old@example.com", 0, is_admin=True) | {"created_at": datetime(1970, 1, 1, tzinfo=UTC)},
            columns("ahead", "ahead@example.com", 0)
            | {"created_at": datetime(8999, 12, 31, 23, 59, 59, 10, tzinfo=UTC)},
        ]
        for person in people:
            api.execute(sa.insert(User), [person])
        for parameters in ({}, {"sort": "-username"}, {"q": "o"}, {"q": "o", "sort": "created_at"}):
            listed = listing(api, **parameters)
            assert len(listed) == (2 if "q" in parameters else 5)
            assert listed == [api.admin.get(f"/users/{user['id']}").json() for user in listed]
        assert {user["email"] for user in listing(api)} >= {odd}


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
    @pytest.mark.parametrize("value", ["", "perhaps", "2", "null", "%00"])
    def test_yes_or_no(self, api: Api, name: str, value: str) -> None:
        assert_invalid(api.admin.get(f"/users?{name}={value}"), name)


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
        ids=lambda value: ascii(value)[:20],
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
    @pytest.mark.parametrize("query", ["q=", "q=%00", "q=al%00ice", f"q={'x' * 255}"], ids=lambda query: query[:12])
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


class TestCursor(ReadOnly):
    @pytest.mark.parametrize("page_size", [1, 2, 3, 7])
    @pytest.mark.parametrize("sort", [None, *SORTS])
    def test_next_leads_through_all(self, api: Api, everybody: list[Row], sort: str | None, page_size: int) -> None:
        order = {} if sort is None else {"sort": sort}
        pages = list(walk(api, **order, page_size=page_size))
        assert [user for page in pages for user in page] == sorted_by(everybody, sort or "id")
        assert {len(page) for page in pages[:-1]} <= {page_size}
        assert pages[-1]

    @pytest.mark.parametrize("page_size", [1, 2, 3, 7])
    @pytest.mark.parametrize("q", ["a", "b", "al"])
    @pytest.mark.parametrize("is_active", [None, True])
    def test_next_leads_through_a_search(
        self, api: Api, everybody: list[Row], q: str, is_active: bool | None, page_size: int
    ) -> None:
        given: dict[str, Any] = {"q": q} | ({} if is_active is None else {"is_active": is_active})
        pages = list(walk(api, **given, page_size=page_size))
        wanted = [user for user in everybody if matches(user, q) and is_active in (None, user["is_active"])]
        assert [user for page in pages for user in page] == sorted(wanted, key=lambda user: matched_name(user, q))

    @pytest.mark.parametrize("sort", ["username", "-email", "created_at", "-created_at"])
    @pytest.mark.parametrize("q", ["a", "B"])
    def test_next_leads_through_a_search_in_any_order(self, api: Api, everybody: list[Row], sort: str, q: str) -> None:
        pages = list(walk(api, q=q, sort=sort, page_size=2))
        assert [user for page in pages for user in page] == sorted_by(
            [user for user in everybody if matches(user, q)], sort
        )

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
        ids=lambda value: ascii(value)[:45],
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
        ids=str,
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
    def test_empty_is_invalid(self, api: Api) -> None:
        assert_invalid(api.admin.get("/users?after="))


class TestChangingUsers:
    """Between one page and the next."""

    def test_users_made_through_the_service_come_in_the_order_they_were_made(self, api: Api) -> None:
        made = [api.new_user(f"user{number}") for number in range(5)]
        assert listing(api, sort="created_at")[1:] == made
        assert listing(api, sort="-created_at")[:-1] == made[::-1]

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


class TestLinks(ReadOnly):
    """RFC 8288."""

    def relations(self, api: Api, **parameters: Any) -> set[str]:
        return set(links(get(api, **parameters)))

    @pytest.mark.parametrize(
        ("parameters", "relations"),
        [
            ({}, {"first", "next"}),
            ({"page_size": 12}, {"first"}),
            ({"page_size": 11}, {"first", "next"}),
            ({"page": 1}, {"first", "next"}),
            ({"page": 2}, {"first", "prev"}),
            ({"page": 2, "page_size": 5}, {"first", "prev", "next"}),
            ({"page": 3, "page_size": 6}, {"first", "prev"}),
            ({"page": 99}, {"first", "prev"}),
            ({"total": True}, {"first", "next", "last"}),
            ({"total": False}, {"first", "next"}),
            ({"total": True, "page": 2, "page_size": 4}, {"first", "prev", "next", "last"}),
            ({"total": True, "q": "nobody"}, {"first", "last"}),
        ],
        ids=str,
    )
    def test_lead_to_where_there_is_something(self, api: Api, parameters: Row, relations: set[str]) -> None:
        assert self.relations(api, **parameters) == relations

    @pytest.mark.parametrize("page_size", [1, 2, 5, 11, 12, 13])
    def test_who_numbers_pages_is_led_by_numbers(self, api: Api, everybody: list[Row], page_size: int) -> None:
        pages = list(walk(api, page=1, page_size=page_size))
        assert [user for page in pages for user in page] == everybody
        answer = get(api, page=2, page_size=page_size, total=True)
        found = links(answer)
        for relation, page in {"first": 1, "prev": 1, "last": -(-12 // page_size)}.items():
            assert query_of(found[relation]) == {"page": str(page), "page_size": str(page_size), "total": "true"}
        last = api.admin.get(found["last"])
        assert last.json() == pages[-1]
        assert "next" not in links(last)

    def test_first_leads_back_to_the_start(self, api: Api) -> None:
        start = get(api, sort="-email", page_size=3)
        for answer in (start, api.admin.get(links(start)["next"])):
            assert api.admin.get(links(answer)["first"]).json() == start.json()

    def test_last_under_a_cursor_leads_to_the_end(self, api: Api, everybody: list[Row]) -> None:
        start = get(api, sort="-email", page_size=5, total=True)
        last = api.admin.get(links(api.admin.get(links(start)["next"]))["last"])
        assert last.json() == sorted_by(everybody, "-email")[10:]
        assert "next" not in links(last)

    @pytest.mark.parametrize(
        "q",
        [
            "a&b=c",
            "a+b",
            "a%20b",
            "a b",
            'a">; rel="next',
            "a<b>",
            "ünï",
            "a#b?c",
            "a;b,c",
            "100%",
            "\N{GRINNING FACE}",
        ],
    )
    def test_keep_the_filters_whatever_they_are(self, api: Api, q: str) -> None:
        parameters: Row = {
            "q": q,
            "is_active": True,
            "is_admin": False,
            "sort": "-email",
            "page_size": 1,
            "total": True,
        }
        given = {**parameters, "page": 2}
        kept = {name: str(value) for name, value in _texts(parameters).items()}
        for target in links(get(api, **given)).values():
            followed = query_of(target)
            assert followed.pop("page") == "1"
            assert followed == kept

    def test_next_keeps_the_filters(self, api: Api) -> None:
        parameters: Row = {"q": "a", "is_active": True, "sort": "username", "page_size": 1}
        more: Row
        for more, position in (({}, "after"), ({"page": 1}, "page")):
            followed = query_of(links(get(api, **{**parameters, **more}))["next"])
            assert followed.pop(position)
            assert followed == _texts(parameters) | {"page_size": "1"}

    @ON_SQLITE
    def test_unknown_parameters_are_not_repeated(self, api: Api) -> None:
        answer = get(api, "page_size=1&token=secret&x=<script>")
        assert "secret" not in answer.headers["Link"]
        assert "script" not in answer.headers["Link"]

    def test_next_ends_where_numbers_end(self, api: Api) -> None:
        """S12: no link leads to a page that is invalid."""
        for target in links(get(api, page=2**31 // 100, page_size=100, total=True)).values():
            assert api.admin.get(target).status_code == 200


class TestTotal(ReadOnly):
    def test_is_counted_only_when_asked_for(self, api: Api) -> None:
        for parameters in ({}, {"total": False}, {"page": 2}, {"q": "a"}):
            assert "X-Total-Count" not in get(api, **parameters).headers

    @pytest.mark.parametrize("position", [{}, {"page": 2}, {"page": 50}, {"page_size": 1}, {"sort": "-created_at"}])
    def test_is_of_all_pages(self, api: Api, everybody: list[Row], position: Row) -> None:
        assert get(api, **{"total": True, **position}).headers["X-Total-Count"] == str(len(everybody))

    def test_is_of_all_pages_under_a_cursor_too(self, api: Api) -> None:
        answer = get(api, total=True, page_size=5, q="a")
        counted = answer.headers["X-Total-Count"]
        assert api.admin.get(links(answer)["next"]).headers["X-Total-Count"] == counted == "7"


class TestOtherOrigin:
    """What a page of another origin may read (Fetch, section 3.3)."""

    @ON_SQLITE
    def test_headers_that_a_front_end_needs_are_exposed(self, open_api: Api) -> None:
        answer = open_api.admin.get("/users?total=true", headers={"Origin": "https://app.example.com"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"link", "x-total-count", "etag", "location", "retry-after"} <= exposed

    @ON_SQLITE
    def test_no_other_origin_is_let_in(self, open_api: Api) -> None:
        answer = open_api.admin.get("/users", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in answer.headers

    @ON_SQLITE
    @pytest.mark.parametrize("header", ["authorization", "content-type", "if-match", "x-request-id"])
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    def test_preflight_lets_its_requests_pass(self, open_api: Api, method: str, header: str) -> None:
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
        answer = open_api.http.options("/users/1", headers={"Origin": "https://app.example.com", **asked})
        assert answer.status_code == 200
        assert method in answer.headers["Access-Control-Allow-Methods"]
        assert header in answer.headers["Access-Control-Allow-Headers"]
