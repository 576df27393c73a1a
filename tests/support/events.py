"""Events as the API tells them."""

from typing import Any

from tests.support.client import Actor, Api
from tests.support.processes import wait_until

Event = dict[str, Any]


def events(actor: Actor, **query: Any) -> list[Event]:
    """All events that a query finds, the newest first."""
    answer = actor.get("/events", params={"page_size": 100, **query})
    assert answer.status_code == 200, answer.text
    found: list[Event] = answer.json()
    return found


def named(api: Api, name: str, **query: Any) -> Event:
    """The one event of a name; waits for those that are written beside the requests."""
    wait_until(lambda: events(api.admin, name=name, **query))
    [event] = events(api.admin, name=name, **query)
    return event
