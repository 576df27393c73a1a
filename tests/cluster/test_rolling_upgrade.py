"""Two releases on one database: the newer one migrates while the older one serves, takes over, and is taken back."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from tests.support.alembic import HEAD, sql
from tests.support.crowd import at_once
from tests.support.faults import LOGIN
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import ROOT, children, run, wait_until
from tests.support.releases import NEW_VERSION, new_release
from tests.support.servers import Server, launched
from userapi import __version__

__all__ = ["new_release"]

WORKERS = {"postgresql": 4}  # elsewhere two: starting them is what takes long


class Load:
    """Clients that read and change, on connections that they keep, and on new ones.

    As HTTP libraries do, they repeat a request that may be repeated if its connection broke (RFC 9110 section 9.2.2).
    """

    def __init__(self, server: Server, token: str) -> None:
        self._address, self._headers = urlsplit(server.base_url).netloc, bearer(token)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(6)]
        self.statuses: Counter[int | str] = Counter()
        self.broken = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        kept = HTTPConnection(self._address, timeout=30)
        turn, answered_at = 0, 0.0
        while not self._done.wait(0.04):
            turn += 1
            if number % 2 or time.monotonic() - answered_at > 0.5:  # the machine is busy: a worker may have left
                kept.close()
            try:
                status: int | str = self._ask(kept, turn, number)
            except (OSError, HTTPException):
                self.broken += 1
                kept.close()
                try:
                    status = self._ask(kept, turn, number)
                except (OSError, HTTPException) as error:
                    status = repr(error)
            self.statuses[status] += 1
            answered_at = time.monotonic()
        kept.close()

    def _ask(self, connection: HTTPConnection, turn: int, number: int) -> int:
        if turn % 4 or number:
            connection.request("GET", "/users/me", headers=self._headers)
        else:
            json = {**self._headers, "Content-Type": "application/json"}
            connection.request("PUT", "/users/me", f'{{"age": {1 + turn % 100}}}', json)
        answer = connection.getresponse()
        answer.read()
        return answer.status


@contextmanager
def under_load(url: str, workers: int, current: Path) -> Iterator[tuple[Server, Load]]:
    settings: Any = {"PYTHONPATH": str(current), "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with launched(url, "--workers", str(workers), cwd=current.parent, **settings) as server:
        server.wait()
        token = at_once(server, [LOGIN])[0].body["access_token"]
        wait_until(lambda: ready_workers(server) == workers, 60)
        with Load(server, token) as load:
            yield server, load


def ready_workers(server: Server) -> int:
    return server.text.count("Application startup complete")


def versions(server: Server) -> set[str]:
    """What workers say their version is, asked often enough to meet each of them."""
    with server.client(headers={"Connection": "close"}) as http:
        return {http.get("/openapi.json").json()["info"]["version"] for _ in range(12)}


def replace_workers(server: Server, current: Path, release: Path) -> None:
    """Deploy a release in the place of another, and wait until all workers are of it."""
    before, workers = ready_workers(server), len(children(server.process.pid))
    (current.parent / "next").symlink_to(release)
    (current.parent / "next").replace(current)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ready_workers(server) == before + workers, 120)
    wait_until(lambda: len(children(server.process.pid)) == workers)


@pytest.mark.slow
class TestRollingUpgrade:
    """R17."""

    def test_no_request_fails(self, kind: str, url: str, new_release: Path, tmp_path: Path) -> None:
        """R17."""
        (current := tmp_path / "current").symlink_to(ROOT)
        with under_load(url, WORKERS.get(kind, 2), current) as (server, load):
            done = run("userapi", "migrate", url=url, cwd=new_release, PYTHONPATH=str(new_release))
            assert done.stdout == f"The schema went from {HEAD} to new_release\n", done
            assert_ready(server)
            replace_workers(server, current, new_release)
            assert versions(server) == {NEW_VERSION}
            assert load.broken == 0
            self._kill_one(server)
            assert_ready(server)
            broken = load.broken
            replace_workers(server, current, ROOT)
            assert versions(server) == {__version__}
            self._kill_one(server)  # an old one comes back on the newer schema
            assert_ready(server)
        assert set(load.statuses) == {200}, load.statuses
        assert load.statuses[200] > 100
        assert broken <= 6  # the connections of the one that was killed
        assert sql(url, "SELECT version_num FROM alembic_version") == [("new_release",)]

    @staticmethod
    def _kill_one(server: Server) -> None:
        before = ready_workers(server)
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        wait_until(lambda: ready_workers(server) == before + 1, 120)


def assert_ready(server: Server) -> None:
    with server.client(headers={"Connection": "close"}) as http:
        for _ in range(8):
            assert http.get("/health/ready").json() == {"status": "ok"}
