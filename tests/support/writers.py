"""Clients that write while something is broken, and remember what they were told."""

import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Self

from tests.support.crowd import Call, Served, at_once
from tests.support.people import PASSWORD


class Writers:
    """Clients that make users on some services, one after the other, until they are told to stop."""

    def __init__(self, servers: Sequence[Served], token: str) -> None:
        self._servers, self._token = servers, token
        self._done = threading.Event()
        self.acknowledged: list[str] = []
        self.statuses: dict[int, int] = {}
        self.longest_pause, self._last = 0.0, time.monotonic()

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(len(self._servers))]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def __str__(self) -> str:
        """The figures, for whoever runs the tests with `--log-cli-level=INFO`."""
        return f"answers {self.statuses}, at most {self.longest_pause:.1f} s without an acknowledged write"

    def _names(self, number: int) -> Iterator[str]:
        yield from (f"w{number}_{count}" for count in range(10**6) if not self._done.is_set())

    def _write(self, number: int) -> None:
        for name in self._names(number):
            body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            try:
                [reply] = at_once(self._servers[number], [Call("POST", "/users", self._token, json=body)])
            except (OSError, HTTPException):
                self.statuses[0] = self.statuses.get(0, 0) + 1
                continue
            self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
            if reply.status == 201:
                self.acknowledged.append(name)
                now = time.monotonic()
                self.longest_pause, self._last = max(self.longest_pause, now - self._last), now
