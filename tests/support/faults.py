"""Requests of every kind, and what must become of them while something is broken."""

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session

from tests.support.client import Api
from tests.support.crowd import Call, Reply, at_once
from tests.support.people import ADMIN_PASSWORD, PASSWORD

LOGIN = Call("POST", "/token", form={"username": "admin", "password": ADMIN_PASSWORD})


def creation(api: Api, username: str) -> Call:
    body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
    return Call("POST", "/users", api.admin.token, json=body)


def one_of_each(api: Api, username: str) -> list[Call]:
    """A read, a list, a change, a creation and a login."""
    change = Call("PUT", api.admin.path, api.admin.token, json={"age": 1 + len(username)})
    reads = [Call("GET", "/users/me", api.admin.token), Call("GET", "/users", api.admin.token)]
    return [*reads, change, creation(api, username), LOGIN]


def assert_works(api: Api, username: str) -> None:
    replies = at_once(api.server, one_of_each(api, username))
    assert [reply.status for reply in replies] == [200, 200, 200, 201, 200], replies


def assert_unavailable(replies: list[Reply]) -> None:
    for reply in replies:
        assert (reply.status, reply.body["code"]) == (503, "database_unavailable"), reply
        assert int(reply.headers["retry-after"]) > 0


def timed(work: Callable[[], list[Reply]]) -> tuple[list[Reply], float]:
    begun = time.monotonic()
    return work(), time.monotonic() - begun


class Counted:
    """A unit of work that is told which run of it this is, counted from 1."""

    def __init__(self, work: Callable[[Any, int], Any]) -> None:
        self._work = work
        self.runs = 0

    def __call__(self, session: Session | sa.Connection) -> Any:
        self.runs += 1
        return self._work(session, self.runs)
