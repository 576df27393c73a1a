"""The login throttle as tests meet it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.crowd import Call, Reply, at_once
from tests.support.insides import Throttle, strangers
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import serving

SLOTS = os.cpu_count() or 1  # passwords that are hashed at once, in a process


@dataclass
class Clock:
    """A clock that tests move."""

    seconds: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.seconds


async def wait_asked(throttle: Throttle, login: str, address: str | None = None) -> int:
    """The seconds an attempt is told to wait; 0 if it may go on."""
    return await throttle.wait(strangers(None, login), address)


async def fail(throttle: Throttle, login: str, address: str | None = None) -> None:
    """Count a wrong password of a name that nobody has."""
    await throttle.fail(strangers(None, login), address)


@contextmanager
def throttled(url: str, *options: str, **settings: Any) -> Iterator[Api]:
    """A client of a service with a throttle, and hashes that take long enough to come at once."""
    with serving(url, *options, FIRST_ADMIN_PASSWORD="Not-Used-1", **{"BCRYPT_ROUNDS": "6", **settings}) as server:
        api = Api(server)
        assert api.admin.token  # logged in before anything is locked
        yield api
        api.close()


def log_in(api: Api, username: str, password: str = PASSWORD) -> Any:
    return api.http.post("/token", data={"username": username, "password": password})


def login_call(api: Api, username: str, password: str = PASSWORD) -> Call:
    address = api.http.headers.get("X-Forwarded-For", "")
    headers = {"X-Forwarded-For": address} if address else {}
    return Call("POST", "/token", form={"username": username, "password": password}, headers=headers)


def assert_locked(answer: Any, seconds: int = 30) -> None:
    assert_refused(answer, "too_many_attempts")
    assert 1 <= int(answer.headers["Retry-After"]) <= seconds


def wrong_at_once(api: Api, username: str, count: int = 50) -> tuple[list[Reply], list[Reply]]:
    """Send wrong passwords in parallel; give the answers of those that were checked, and of those that were not."""
    replies = at_once(api.server, [login_call(api, username, WRONG_PASSWORD)] * count)
    assert {reply.status for reply in replies} == {401, 429}, replies
    refused = [reply for reply in replies if reply.status == 429]
    assert all(1 <= int(reply.headers["retry-after"]) <= 900 for reply in refused)
    return [reply for reply in replies if reply.status == 401], refused
