"""Listing users: `Link` and totals."""

import asyncio
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import Settings, create_app
from tests.support.listing import ReadOnly, Row, get, links, query_of, sorted_by, texts, walk
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import SECRET_KEY


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

    @ON_SQLITE
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
        kept = {name: str(value) for name, value in texts(parameters).items()}
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
            assert followed == texts(parameters) | {"page_size": "1"}

    def test_next_ends_where_numbers_end(self, api: Api) -> None:
        """S12: no link leads to a page that is invalid."""
        for target in links(get(api, page=2**31 // 100, page_size=100, total=True)).values():
            assert api.admin.get(target).status_code == 200


class TestElsewhere:
    @ON_SQLITE
    @pytest.mark.parametrize("path", ["/users", "/users/me/sessions"])
    def test_lead_to_the_path_that_the_client_asked(self, api: Api, path: str) -> None:
        """Mounted under a prefix, too: resolved against the address of the request, they are right."""
        api.new_user("bob")
        api.token("admin", ADMIN_PASSWORD)
        settings = Settings(_env_file=None, database_url=api.server.url, secret_key=SecretStr(SECRET_KEY))
        inner, outer = create_app(settings), FastAPI()
        outer.mount("/accounts/v1", inner)
        pages = asyncio.run(two_pages(inner, outer, api.admin.token, f"/accounts/v1{path}"))
        assert [len(page) for page in pages] == [1, 1]
        assert pages[0] != pages[1]

    def test_of_sessions_are_like_those_of_users(self, api: Api) -> None:
        for _ in range(4):
            api.token("admin", ADMIN_PASSWORD)
        seen, target = list[int](), "/users/me/sessions?page_size=2"
        while target:
            answer = api.admin.get(target)
            seen += [session["id"] for session in answer.json()]
            found = links(answer, "/users/me/sessions")
            assert ("prev" in found) == (len(seen) > 2)
            target = found.get("next", "")
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == 5


async def two_pages(inner: FastAPI, outer: FastAPI, token: str, path: str) -> list[Any]:
    """The first page of one item, and the one that its `Link` leads to."""
    transport = httpx.ASGITransport(outer)
    async with (
        inner.router.lifespan_context(inner),
        httpx.AsyncClient(transport=transport, base_url="http://test", headers=bearer(token)) as http,
    ):
        first = await http.get(f"{path}?page_size=1")
        second = await http.get(str(first.url.join(first.links["next"]["url"])))
        return [first.json(), second.json()]


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
