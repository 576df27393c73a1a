"""Events are read: by admins all, by users their own; filtered, in pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.client import Actor, Api
from tests.support.events import events
from tests.support.insides import Event, EventName, EventQuery, find_events
from tests.support.statements import instructions

START = datetime(2026, 1, 1, tzinfo=UTC)


def insert(api: Api, *rows: dict[str, Any]) -> None:
    """Write events beside the service, a second apart unless they say when."""
    api.sql("DELETE FROM events")
    empty = dict.fromkeys(("actor_id", "user_id", "session_id", "address", "user_agent", "request_id"))
    values = [{"at": START + timedelta(seconds=n), **empty, **row} for n, row in enumerate(rows)]
    api.execute(sa.insert(Event), values)


def followed(actor: Actor, path: str) -> list[list[int]]:
    """The ids of all pages from a path on, by the links to the next."""
    pages = []
    while path:
        answer = actor.get(path)
        assert answer.status_code == 200, answer.text
        pages.append([event["id"] for event in answer.json()])
        path = answer.links.get("next", {}).get("url", "")
    return pages


class TestPages:
    def test_follow_each_other_without_gap_or_repetition_though_times_are_equal(self, api: Api) -> None:
        admin = api.admin
        insert(api, *[{"name": "login_succeeded", "at": START + timedelta(seconds=n // 4)} for n in range(10)])
        pages = followed(admin, "/events?page_size=3&name=login_succeeded")
        assert [len(page) for page in pages] == [3, 3, 3, 1]
        ids = [event_id for page in pages for event_id in page]
        assert ids == sorted(ids, reverse=True)
        assert len(set(ids)) == 10

    def test_keep_the_filters(self, api: Api) -> None:
        admin = api.admin
        insert(
            api, *[{"name": name, "user_id": n % 2 + 1} for n in range(6) for name in ("user_changed", "user_created")]
        )
        until = (START + timedelta(seconds=10)).isoformat()
        pages = followed(admin, f"/events?page_size=2&user_id=2&name=user_changed&until={until.replace('+', '%2B')}")
        assert [len(page) for page in pages] == [2]
        pages = followed(admin, "/events?page_size=2&user_id=2&name=user_changed")
        assert [len(page) for page in pages] == [2, 1]


class TestFilters:
    @pytest.fixture
    def written(self, api: Api) -> Api:
        assert api.admin.token
        insert(
            api,
            {"name": "user_created", "user_id": 1, "actor_id": 0},
            {"name": "user_changed", "user_id": 1, "actor_id": 2},
            {"name": "user_changed", "user_id": 2, "actor_id": 2},
            {"name": "login_failed"},
        )
        return api

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, [3, 2, 1, 0]),
            ({"user_id": 1}, [1, 0]),
            ({"name": "user_changed"}, [2, 1]),
            ({"user_id": 1, "name": "user_changed"}, [1]),
            ({"actor_id": 2}, [2, 1]),
            ({"actor_id": "operator"}, [0]),
            ({"user_id": 2, "actor_id": 2, "name": "user_created"}, []),
            ({"since": START + timedelta(seconds=1), "until": START + timedelta(seconds=3)}, [2, 1]),
            ({"name": "user_changed", "since": START + timedelta(seconds=2)}, [2]),
        ],
        ids=str,
    )
    def test_narrow(self, written: Api, query: dict[str, Any], found: list[int]) -> None:
        query = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
        times = [datetime.fromisoformat(event["at"]) for event in events(written.admin, **query)]
        # Failed logins of the test before may be written late.
        assert [time.second for time in times if time < START + timedelta(minutes=1)] == found


class TestCost:
    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("page_size", [1, 100])
    def test_of_a_users_few_of_a_name_does_not_grow_with_the_others(self, api: Api, page_size: int) -> None:
        """Counted as SQLite counts: in instructions."""
        rare = [{"name": "password_changed", "user_id": 1}] * 2
        costs = []
        for others in (0, 3000):
            insert(api, *rare, *[{"name": "login_succeeded", "user_id": 1}] * others)
            query = EventQuery(user_id=1, name=EventName.PASSWORD_CHANGED, page_size=page_size)
            with api.server.engine.connect() as connection:
                costs.append(instructions(connection, lambda: find_events(connection, query, None)))  # noqa: B023
        assert 0 < costs[1] <= costs[0] + 20, costs


class TestInvalid:
    @pytest.mark.parametrize(
        "query",
        [
            "name=user_renamed",
            "user_id=0",
            "user_id=2147483648",
            "actor_id=nobody",
            "since=yesterday",
            "since=2026-01-01",
            "until=9999-12-31T23:59:59Z",
            "page_size=101",
            "after=x",
            "usr_id=1",
        ],
    )
    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_query_is_refused(self, api: Api, query: str) -> None:
        """S12."""
        assert api.admin.get(f"/events?{query}").status_code == 422


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_filter_that_is_left_empty_is_none(api: Api) -> None:
    everything = api.admin.get("/events?name=login_succeeded")
    assert everything.json()
    empty = api.admin.get("/events?name=login_succeeded&user_id=&actor_id=&since=&until=")
    assert (empty.status_code, empty.json()) == (200, everything.json())


class TestPermissions:
    """S3."""

    def test_users_see_their_own_and_nobody_elses(self, api: Api, alice: Actor) -> None:
        bob = api.new_user("bob")
        assert alice.get("/events").status_code == 403
        assert alice.get(f"/users/{bob['id']}/events").status_code == 403
        assert alice.get("/users/2147483647/events").status_code == 403
        assert api.http.get("/events").status_code == 401
        mine = alice.get("/users/me/events").json()
        assert [event["name"] for event in mine] == ["login_succeeded", "user_created"]
        assert {event["user_id"] for event in mine} == {alice.id}
        assert api.admin.get(f"{alice.path}/events").json() == mine

    def test_nobody_has_none(self, api: Api) -> None:
        assert api.admin.get("/users/2147483647/events").status_code == 404

    def test_filter_of_a_user_is_none_of_another(self, api: Api, alice: Actor) -> None:
        assert alice.get(f"/users/me/events?user_id={api.admin.id}").status_code == 422
