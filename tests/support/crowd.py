"""Requests that are sent in parallel, and one that is repeated meanwhile."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import urlencode, urlsplit

from tests.support.people import bearer


class Served(Protocol):
    """A service, or what stands in front of it."""

    @property
    def base_url(self) -> str: ...


class Call(NamedTuple):
    """A request to be sent with others at once."""

    method: str
    path: str
    token: str | None = None
    json: Any = None
    form: dict[str, str] | None = None
    headers: Mapping[str, str] = {}


class Reply(NamedTuple):
    """The answer to a call."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Crowd:
    """Clients that have connected and send their requests back to back, so that they really run in parallel."""

    def __init__(self, server: Served, calls: Sequence[Call], timeout: float = 60) -> None:
        """Connect, and send nothing yet."""
        self._calls = calls
        self._connections = [HTTPConnection(urlsplit(server.base_url).netloc, timeout=timeout) for _ in calls]
        try:
            for connection in self._connections:
                connection.connect()
        except OSError:
            self.close()
            raise

    def send(self) -> Self:
        """Send the requests."""
        for call, connection in zip(self._calls, self._connections, strict=True):
            headers = {**call.headers, **(bearer(call.token) if call.token else {})}
            body = None
            if call.json is not None:
                body, headers["Content-Type"] = json.dumps(call.json), "application/json"
            elif call.form is not None:
                body, headers["Content-Type"] = urlencode(call.form), "application/x-www-form-urlencoded"
            connection.request(call.method, call.path, body, headers)
        return self

    def close(self) -> None:
        """Hang up, whatever has been answered."""
        for connection in self._connections:
            connection.close()

    def replies(self) -> Iterator[Reply]:
        """Give the answers in the order of the calls; raises OSError or HTTPException for one that broke off."""
        try:
            for connection in self._connections:
                answer = connection.getresponse()
                body = answer.read()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                yield Reply(answer.status, headers, json.loads(body) if body else None)
        finally:
            self.close()


def at_once(server: Served, calls: Sequence[Call]) -> list[Reply]:
    """Send all these requests in parallel, each on a connection of its own, and give the answers."""
    return list(Crowd(server, calls).send().replies())


class Watch:
    """Asks for one path over and over, on a connection of its own, while a `with` block runs."""

    def __init__(self, server: Served, path: str = "/health/live", token: str | None = None) -> None:
        self._server, self._call = server, Call("GET", path, token)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        self.statuses: set[int] = set()

    def _run(self) -> None:
        connection = HTTPConnection(urlsplit(self._server.base_url).netloc, timeout=30)
        headers = bearer(self._call.token) if self._call.token else {}
        while not self._done.wait(0.01):
            begun = time.monotonic()
            try:
                connection.request("GET", self._call.path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except OSError:
                connection.close()
                status = 0
            self.seconds.append(time.monotonic() - begun)
            self.statuses.add(status)
        connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def assert_answered_within(self, seconds: float) -> None:
        assert self.statuses == {200}, self.statuses
        assert max(self.seconds) < seconds, f"{max(self.seconds):.2f} s"
