"""Connections that a client opens and does not use as it should."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.support.client import Api
from tests.support.connections import GET, HALF, connect
from tests.support.databases import ON_SQLITE, new_database
from tests.support.processes import children, wait_until
from tests.support.servers import Server, serving

FILES = 256
MANY = 1_100


def read_all(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def read_some(client: socket.socket) -> bytes:
    """The first bytes that come; none if the other side closes instead."""
    try:
        return client.recv(12)
    except ConnectionError:
        return b""


def serves(server: Server) -> bool:
    """Whether it answers one who comes now, instead of closing the connection."""
    with server.client() as http, suppress(httpx.TransportError):
        return http.get("/health/live").status_code == 200
    return False


def resident_mib(server: Server) -> float:
    [line] = [
        line for line in Path(f"/proc/{worker(server)}/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def worker(server: Server) -> int:
    """The process that serves."""
    [pid] = children(server.process.pid)
    return pid


@pytest.fixture
def few_files() -> Iterator[Server]:
    """A service that the system gives no more than 256 files."""
    with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
        resource.prlimit(worker(server), resource.RLIMIT_NOFILE, (FILES, FILES))
        yield server


@ON_SQLITE
class TestPipeline:
    """S32."""

    def test_all_requests_are_answered_in_order(self, api: Api) -> None:
        paths = [f"/{number}" if number % 3 else "/health/live" for number in range(300)]
        with connect(api.server) as client:
            requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() for path in paths]
            client.sendall(b"\r\n".join(requests) + b"Connection: close\r\n\r\n")
            statuses = [int(answer[1:4]) for answer in read_all(client).split(b"HTTP/1.1")[1:]]
        assert statuses == [404 if number % 3 else 200 for number in range(300)]

    def test_bodies_among_them_are_read(self, api: Api) -> None:
        body = b"token=x" + b"\n" * 500
        head = b"POST /revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        post = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with connect(api.server) as client:
            client.sendall((post + GET) * 40 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert read_all(client).count(b"HTTP/1.1 200") == 81

    def test_a_flood_of_them_takes_little_memory(self, api: Api) -> None:
        """S32."""
        flood = b"GET / HTTP/1.1\r\n\r\n" * (256 * 1024 // 18)
        before = resident_mib(api.server)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(api.server)) for _ in range(40)]
            for client in clients:
                client.setblocking(False)
            sent, peak = [0] * 40, before
            for _ in range(200):
                for number, client in enumerate(clients):
                    try:
                        sent[number] += client.send(flood[sent[number] : sent[number] + 65536])
                    except BlockingIOError:
                        continue
                peak = max(peak, resident_mib(api.server))
        assert peak - before < 100
        assert sum(sent) > 40 * 65536
        assert api.http.get("/health/live").status_code == 200


class TestManyConnections:
    """S32."""

    def test_half_open_ones_do_not_shut_the_service(self, few_files: Server) -> None:
        """S32."""
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(few_files))]
            clients[0].sendall(GET)
            received = b""
            while b'"ok"}' not in received:
                received += clients[0].recv(65536)
            for number in range(MANY):
                clients.append(stack.enter_context(connect(few_files)))
                clients[-1].sendall(HALF if number % 2 else b"")
            with few_files.client(timeout=30) as http:
                for _ in range(5):
                    assert http.get("/health/live").status_code == 200
            clients[-1].sendall(GET if MANY % 2 else b"\r\n")
            assert clients[-1].recv(65536).startswith(b"HTTP/1.1 200")  # the newest stayed
            assert read_all(clients[0]) == b""  # the oldest went
        wait_until(lambda: len(list(Path(f"/proc/{worker(few_files)}/fd").iterdir())) < FILES)

    def test_one_for_which_there_is_no_file_is_closed(self, few_files: Server) -> None:
        """S32: it is not left to wait, and those that come when there are files again are served."""
        used = len(list(Path(f"/proc/{worker(few_files)}/fd").iterdir()))
        resource.prlimit(worker(few_files), resource.RLIMIT_NOFILE, (used + 8, used + 8))
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(few_files)) for _ in range(50)]
            for client in clients:
                with suppress(ConnectionError):
                    client.sendall(GET)
            first_bytes = [read_some(client) for client in clients]
        assert b"" in first_bytes
        assert b"HTTP/1.1 200" in first_bytes
        wait_until(lambda: serves(few_files))  # once it has seen that those clients are gone

    def test_the_soft_limit_of_files_is_raised_at_the_start(self) -> None:
        """S32."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            soft = resource.prlimit(worker(server), resource.RLIMIT_NOFILE)[0]
        assert soft >= min(hard, 10_000)
