"""Service processes that are killed or told to end."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support.crowd import Call, Crowd, at_once
from tests.support.databases import new_database, sync_engine
from tests.support.faults import LOGIN
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.processes import wait_until
from tests.support.servers import Server, serving


@pytest.mark.slow
class TestKilledProcesses:
    """R7."""

    def test_what_was_acknowledged_is_there(self, url: str) -> None:
        """R7."""
        acknowledged: list[int] = []
        with serving(url, "--workers", "4", fresh=True, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            token = at_once(server, [LOGIN])[0].body["access_token"]
            with self._load(server, token, acknowledged):
                wait_until(lambda: len(acknowledged) >= 50)
                workers = self._workers(server)
                assert len(workers) == 4
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                # The parent starts others, and the clients go on.
                before = len(acknowledged)
                wait_until(lambda: len(acknowledged) >= before + 100, 30)
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
    @contextmanager
    def _load(server: Server, token: str, acknowledged: list[int]) -> Iterator[None]:
        """Eight clients that make users, one after another, as long as this runs."""
        done = threading.Event()
        address = urlsplit(server.base_url).netloc

        def make(client: int) -> None:
            number = 0
            while not done.is_set():
                name = f"load_{client}_{(number := number + 1)}"
                body = f'{{"username": "{name}", "email": "{name}@example.com", "password": "{PASSWORD}"}}'
                try:
                    with closing(HTTPConnection(address, timeout=5)) as connection:
                        connection.request(
                            "POST", "/users", body, {"Content-Type": "application/json", **bearer(token)}
                        )
                        answer = connection.getresponse()
                        text = answer.read()
                except (OSError, HTTPException):
                    done.wait(0.02)
                    continue
                if answer.status == 201:
                    acknowledged.append(json.loads(text)["id"])

        threads = [threading.Thread(target=make, args=(client,), daemon=True) for client in range(8)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


class TestShutdown:
    """R8."""

    def test_logins_under_way_complete(self, url: str) -> None:
        """R8."""
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            self._end_during_logins(server)
            assert "Traceback" not in server.text

    @pytest.mark.slow
    def test_it_ends_in_time_though_a_client_has_sent_half_a_body(self) -> None:
        """R8."""
        with (
            new_database("sqlite") as url,
            serving(url, "--workers", "2", BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server,
        ):
            address = urlsplit(server.base_url)
            with closing(socket.create_connection((address.hostname, address.port))) as slow:
                slow.sendall(
                    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
                    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=adm"
                )
                self._end_during_logins(server)

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
