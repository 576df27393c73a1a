"""Service processes that are killed or told to end."""

import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support.client import Actor, client_of
from tests.support.crowd import Call, Crowd, at_once
from tests.support.databases import ON_SQLITE, new_database, sync_engine
from tests.support.faults import LOGIN
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.processes import children, wait_until
from tests.support.servers import Server, serving


@contextmanager
def clients(work: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Threads that each do some work as long as this runs; its end is the event that they are given."""
    done = threading.Event()
    threads = [threading.Thread(target=each, args=(done,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
class TestKilledProcesses:
    """R7."""

    def test_what_was_acknowledged_is_there(self, url: str) -> None:
        """R7."""
        acknowledged: list[int] = []
        with serving(url, "--workers", "4", fresh=True, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            token = at_once(server, [LOGIN])[0].body["access_token"]
            with clients([partial(self._make_users, server, token, acknowledged, client) for client in range(8)]):
                wait_until(lambda: len(acknowledged) >= 50)
                workers = self._workers(server)
                assert len(workers) == 4
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                # The parent starts others, and the clients go on.
                before = len(acknowledged)
                wait_until(lambda: len(acknowledged) >= before + 100, 120)
                server.process.send_signal(signal.SIGSTOP)  # it starts no more of them
                for pid in [*self._workers(server), server.process.pid]:
                    os.kill(pid, signal.SIGKILL)
        with serving(url) as server:
            assert at_once(server, [Call("GET", "/users/me", token)])[0].status == 200
        engine = sync_engine(url)
        with engine.connect() as connection:
            there = set(connection.execute(sa.text("SELECT id FROM users")).scalars())
            assert len(set(acknowledged)) == len(acknowledged) >= 150
            assert set(acknowledged) <= there
            if engine.dialect.name == "sqlite":
                assert connection.execute(sa.text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        engine.dispose()

    @ON_SQLITE
    def test_changes_that_were_committed_together_are_whole(self, url: str) -> None:
        """R7: of 16 who change themselves at once, and of each the event in the same unit."""
        acknowledged: dict[int, int] = {}
        with serving(url, "--workers", "2", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            with client_of(server) as api:
                actors = [api.new_actor(f"user{number}") for number in range(16)]
            with clients([partial(self._change_on, server, actor, acknowledged) for actor in actors]):
                for _ in range(3):
                    enough = sum(acknowledged.values()) + 200
                    wait_until(partial(lambda enough: sum(acknowledged.values()) >= enough, enough), 30)
                    for pid in children(server.process.pid):
                        os.kill(pid, signal.SIGKILL)
        changed = sa.text("SELECT user_id, count(*) FROM events WHERE name = 'user_changed' GROUP BY user_id")
        engine = sync_engine(url)
        with engine.connect() as connection:
            versions = {row.id: row.version for row in connection.execute(sa.text("SELECT id, version FROM users"))}
            events: dict[int, int] = {row[0]: row[1] for row in connection.execute(changed)}
            assert connection.execute(sa.text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        engine.dispose()
        assert acknowledged.keys() == {actor.id for actor in actors}
        for user_id, version in acknowledged.items():
            assert versions[user_id] >= version
            assert events[user_id] == versions[user_id] - 1

    @staticmethod
    def _change_on(server: Server, actor: Actor, acknowledged: dict[int, int], done: threading.Event) -> None:
        """Change a user's age again and again, and note the newest version that was answered."""
        ages = itertools.cycle(range(100))
        while not done.is_set():
            with closing(HTTPConnection(urlsplit(server.base_url).netloc, timeout=5)) as connection:
                try:
                    while not done.is_set():
                        headers = {"Content-Type": "application/json", **bearer(actor.token)}
                        connection.request("PATCH", "/users/me", f'{{"age": {next(ages)}}}', headers)
                        answer = connection.getresponse()
                        answer.read()
                        if answer.status == 200:
                            acknowledged[actor.id] = int(answer.headers["ETag"].strip('"'))
                except (OSError, HTTPException):
                    done.wait(0.02)

    @staticmethod
    def _workers(server: Server) -> list[int]:
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()]
        return [
            int(pid) for pid, parent, args in rows if int(parent) == server.process.pid and "userapi.worker" in args
        ]

    @staticmethod
    def _make_users(server: Server, token: str, acknowledged: list[int], client: int, done: threading.Event) -> None:
        """Make users, one after another, each over a connection of its own."""
        number = 0
        while not done.is_set():
            name = f"load_{client}_{(number := number + 1)}"
            body = f'{{"username": "{name}", "email": "{name}@example.com", "password": "{PASSWORD}"}}'
            try:
                with closing(HTTPConnection(urlsplit(server.base_url).netloc, timeout=5)) as connection:
                    connection.request("POST", "/users", body, {"Content-Type": "application/json", **bearer(token)})
                    answer = connection.getresponse()
                    text = answer.read()
            except (OSError, HTTPException):
                done.wait(0.02)
                continue
            if answer.status == 201:
                acknowledged.append(json.loads(text)["id"])


class TestShutdown:
    """R8."""

    def test_logins_under_way_complete(self, url: str) -> None:
        """R8."""
        with serving(url, BCRYPT_ROUNDS="10", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            self._end_during_logins(server)
            assert "Traceback" not in server.text

    @pytest.mark.slow
    def test_it_ends_in_time_though_a_client_has_sent_half_a_body(self) -> None:
        """R8."""
        with (
            new_database("sqlite") as url,
            serving(url, "--workers", "2", BCRYPT_ROUNDS="10", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server,
        ):
            address = urlsplit(server.base_url)
            with closing(socket.create_connection((address.hostname, address.port))) as slow:
                slow.sendall(
                    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
                    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=adm"
                )
                self._end_during_logins(server)
                assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
            assert "ERROR" not in server.text
            assert "Traceback" not in server.text

    @staticmethod
    def _end_during_logins(server: Server) -> None:
        replies = Crowd(server, [LOGIN] * 6).send().replies()
        first = next(replies)  # the others are being verified or wait for their turn
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        statuses = [reply.status for reply in replies]
        server.process.wait(30)
        assert time.monotonic() - begun < 20
        assert [first.status, *statuses] == [200] * 6
