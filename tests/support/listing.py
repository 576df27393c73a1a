"""Users to be listed, and the pages of a list as tests walk them."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import sqlalchemy as sa

from tests.support.client import Api
from tests.support.insides import User, canonical, now
from tests.support.unchanged import Unchanged

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


class ReadOnly(Unchanged):
    """Tests that only read share their users."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def everybody(cls, api: Api) -> list[Row]:
        return everybody_of(api)


def get(api: Api, query: str = "", **parameters: Any) -> Any:
    answer = api.admin.get(f"/users?{query or urlencode(texts(parameters))}")
    assert answer.status_code == 200, answer.text
    return answer


def texts(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in parameters.items()}


def listing(api: Api, query: str = "", **parameters: Any) -> list[Row]:
    listed: list[Row] = get(api, query, **parameters).json()
    return listed


def links(answer: Any, path: str = "/users") -> dict[str, str]:
    """The targets of a `Link` header by their relation (RFC 8288), each of which must be a relative reference."""
    found = re.findall(r'<([^<>"\s]*)>; rel="(\w+)"', answer.headers["Link"])
    assert ", ".join(f'<{target}>; rel="{relation}"' for target, relation in found) == answer.headers["Link"]
    assert len({relation for _, relation in found}) == len(found)
    for target, _ in found:
        assert urlsplit(target)[:3] == ("", "", path), target
    return {relation: target for target, relation in found}


def alone(listed: list[Row]) -> list[Row]:
    """Users of a list as they are answered one by one: there the version is in the header `ETag`."""
    return [{name: value for name, value in user.items() if name != "version"} for user in listed]


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
