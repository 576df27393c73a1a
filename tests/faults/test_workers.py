"""The processes of a service: started, killed, replaced and ended."""

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.support.databases import new_database
from tests.support.insides import Place, admit_no_more, listen
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import ROOT, children, environment, free_port, refused_to_start, run, wait_until
from tests.support.servers import Server, serving

SETTINGS: Any = {"FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD, "THROTTLE_ENABLED": "false"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with new_database("sqlite") as url:
        yield url


@pytest.fixture(scope="module")
def two_workers(url: str) -> Iterator[Server]:
    with serving(url, "--workers", "2", fresh=True, **SETTINGS) as server:
        wait_until(lambda: ready(server) == 2)
        yield server


def ready(server: Server) -> int:
    return server.text.count("Application startup complete")


def workers(server: Server) -> set[int]:
    return set(children(server.process.pid))


def sockets(pid: int) -> Iterator[str]:
    """The sockets of a process, as the system names them."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            yield str(file.readlink())


def connected(stack: ExitStack, server: Server, many: int) -> list[HTTPConnection]:
    """Connections that have been used, and are kept as long as the stack is."""
    address = urlsplit(server.base_url).netloc
    made = [stack.enter_context(closing(HTTPConnection(address, timeout=60))) for _ in range(many)]
    for connection in made:
        connection.request("GET", "/health/live")
        connection.getresponse().read()
    return made


class Callers:
    """Clients that ask over and over, on kept connections and on new ones, until nobody listens any more."""

    def __init__(self, server: Server) -> None:
        self._address = urlsplit(server.base_url).netloc
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(keep,), daemon=True) for keep in [True, False] * 4]
        self.answered = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.answered > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _run(self, keep: bool) -> None:
        with closing(HTTPConnection(self._address, timeout=60)) as connection:
            answered_at = 0.0
            while not self._done.is_set():
                if time.monotonic() - answered_at > 0.5:  # the machine is busy: a worker may have left meanwhile
                    connection.close()
                try:
                    if connection.sock is None:
                        connection.connect()
                except ConnectionRefusedError:
                    return
                except OSError as error:
                    self.failed.append(repr(error))
                    return
                try:
                    connection.request("GET", "/health/ready")
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == 200
                    self.answered += 1
                    answered_at = time.monotonic()
                except (OSError, HTTPException, AssertionError) as error:
                    self.failed.append(repr(error))
                    connection.close()
                if not keep:
                    connection.close()


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "userapi"])
"""


def held(server: Server) -> dict[int, set[int]]:
    """The ports of the clients that each worker is connected to."""
    here = f":{urlsplit(server.base_url).port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {f"socket:[{line[9]}]": int(line[2].split(":")[1], 16) for line in lines if line[1].endswith(here)}
    return {pid: {ports[link] for link in sockets(pid) if link in ports} for pid in workers(server)}


class TestShares:
    @pytest.mark.parametrize("many", [16, 64])
    def test_of_connections_are_even(self, two_workers: Server, many: int) -> None:
        """The busier one has at most 60 %: it has half of them, but for those of whose end it has not told yet."""
        wait_until(lambda: self._evened_out(two_workers, [], many))

    def test_of_who_comes_back_are_even_again(self, two_workers: Server) -> None:
        """Whoever connects next goes to the worker that has fewer connections, not to the next in turn."""
        wait_until(lambda: self._evened_out(two_workers, [], 8))
        with ExitStack() as stack:
            kept = connected(stack, two_workers, 8)
            gone = max(held(two_workers).values(), key=len)  # the rest can be made even, whatever the shares were
            for connection in kept:
                if connection.sock.getsockname()[1] in gone:
                    connection.close()
            wait_until(lambda: sum(map(len, held(two_workers).values())) == 8 - len(gone))
            wait_until(lambda: self._evened_out(two_workers, kept, len(gone)))

    @staticmethod
    def _evened_out(server: Server, kept: list[HTTPConnection], more: int) -> bool:
        """Whether so many more clients make it even: a worker tells ten times a second how many it has."""
        wanted = more + sum(connection.sock is not None for connection in kept)
        with ExitStack() as stack:
            connected(stack, server, more)
            shares = [len(ports) for ports in held(server).values()]
        wait_until(lambda: sum(map(len, held(server).values())) == wanted - more)
        return sum(shares) == wanted and max(shares) <= 0.6 * wanted


class TestWorker:
    """R18."""

    def test_that_is_killed_leaves_what_it_has_not_taken_to_others(self, two_workers: Server) -> None:
        """R18."""
        frozen, begun = min(workers(two_workers)), ready(two_workers)
        os.kill(frozen, signal.SIGSTOP)
        address = urlsplit(two_workers.base_url)
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=60))
                for _ in range(10)
            ]
            for client in clients:
                client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            os.kill(frozen, signal.SIGKILL)
            assert [client.recv(12) for client in clients] == [b"HTTP/1.1 200"] * 10
        wait_until(lambda: ready(two_workers) == begun + 1)
        assert len(workers(two_workers) - {frozen}) == 2
        assert f"worker {frozen} ended with exit code -9" in two_workers.text

    def test_that_is_told_to_end_is_replaced_first(self, two_workers: Server) -> None:
        """R18."""
        before, begun = workers(two_workers), ready(two_workers)
        with Callers(two_workers) as callers:
            os.kill(min(before), signal.SIGTERM)
            wait_until(lambda: ready(two_workers) == begun + 1)
            wait_until(lambda: min(before) not in workers(two_workers))
        assert callers.failed == []
        assert len(workers(two_workers)) == 2

    def test_ends_with_its_parent(self, url: str) -> None:
        """R18."""
        with serving(url, fresh=True, **SETTINGS) as server:
            [worker] = workers(server)
            server.process.kill()
            wait_until(lambda: not Path(f"/proc/{worker}").exists())

    def test_that_could_never_start_is_told_by_the_exit_code(self) -> None:
        """R18."""
        done = run("userapi", "--workers", "2", "--port", "0", fresh=True, url="postgresql://nobody@127.0.0.1:9/none")
        assert refused_to_start(done).startswith("cannot use the database ")

    def test_parent_is_small(self, two_workers: Server) -> None:
        """It imports nothing that only workers need."""
        status = Path(f"/proc/{two_workers.process.pid}/status").read_text()
        [kilobytes] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
        assert kilobytes < 32 * 1024


class TestReplacing:
    """R18."""

    @pytest.mark.parametrize("many", [1, 2])
    def test_by_sighup_breaks_no_connection(self, url: str, many: int) -> None:
        """R18."""
        with serving(url, "--workers", str(many), fresh=True, **SETTINGS) as server:
            wait_until(lambda: ready(server) == many)
            before = workers(server)
            with Callers(server) as callers:
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: len(workers(server)) == many and not workers(server) & before, 120)
                answered = callers.answered
                wait_until(lambda: callers.answered > answered + 50)
            assert callers.failed == []

    def test_that_fails_keeps_those_that_are_there(self, tmp_path: Path) -> None:
        """R18."""
        (tmp_path / ".env").write_text("BCRYPT_ROUNDS=4")
        settings: Any = {**SETTINGS, "BCRYPT_ROUNDS": ""}
        with new_database("sqlite") as url, serving(url, cwd=tmp_path, fresh=True, **settings) as server:
            before = workers(server)
            (tmp_path / ".env").write_text("BCRYPT_ROUNDS=99")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "no worker is replaced any more" in server.text)
            assert workers(server) == before
            with server.client() as http:
                assert http.get("/health/ready").status_code == 200
            assert server.stop() == 0


class TestStopping:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
    def test_resets_no_connection(self, url: str, how: signal.Signals) -> None:
        """R8: what is sent before nobody listens any more is answered."""
        with serving(url, "--workers", "2", **SETTINGS) as server:
            with Callers(server) as callers:
                server.process.send_signal(how)
                assert server.process.wait(60) == 0
            assert callers.failed == []


class TestClosing:
    @pytest.mark.skipif(sys.platform != "linux", reason="by a filter that Linux has")
    def test_admits_nobody_and_cuts_off_nobody(self) -> None:
        """R8: who has connected is served; who has not is told that nobody listens."""
        [door] = Place("127.0.0.1", 0).bind()
        listen([door])
        with socket.create_connection(door.getsockname()) as early, socket.socket() as late:
            admit_no_more([door])
            late.setblocking(False)
            late.connect_ex(door.getsockname())
            accepted, _ = door.accept()
            with pytest.raises(BlockingIOError):
                door.accept()
            door.close()
            with accepted:
                early.sendall(b"?")
                assert accepted.recv(1) == b"?"
                select.select([], [late], [], 20)
                assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


class TestPlace:
    def test_that_is_taken_is_refused(self, two_workers: Server) -> None:
        port = str(urlsplit(two_workers.base_url).port)
        done = run("userapi", "--port", port, url=two_workers.url)
        assert refused_to_start(done) == "cannot listen: Address already in use"

    def test_may_be_a_unix_socket(self, url: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/socket"
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(path)
            with serving_at(url, "--uds", path, FORWARDED_ALLOW_IPS="unix") as process:
                with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://x", timeout=60) as http:
                    wait_until(lambda: listens(path))
                    form = {"username": "admin", "password": ADMIN_PASSWORD}
                    pair = http.post("/token", data=form, headers={"X-Forwarded-For": "192.0.2.7"}).json()
                    headers = {"Authorization": f"Bearer {pair['access_token']}"}
                    [*_, session] = sorted(
                        http.get("/users/me/sessions", headers=headers).json(), key=lambda it: it["id"]
                    )
                    assert session["ip"] == "192.0.2.7"
                assert refused_to_start(run("userapi", "--uds", path, url=url)).startswith("cannot listen: another")
                process.terminate()
                assert process.wait(60) == 0
            assert not Path(path).exists()

    def test_that_another_process_has_taken_over_stays(self, url: str) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as successor:
            path = f"{folder}/socket"
            with serving_at(url, "--uds", path) as process:
                wait_until(lambda: listens(path))
                Path(path).unlink()
                successor.bind(path)
                process.terminate()
                assert process.wait(60) == 0
            assert Path(path).is_socket()

    def test_may_be_a_socket_that_outlives_the_service(self, url: str) -> None:
        """Who connects between two starts waits, and is answered by the second."""
        with socket.create_server(("127.0.0.1", free_port())) as listener:
            with serving_at(url, "--fd", str(listener.fileno()), pass_fds=[listener.fileno()]) as process:
                assert status(listener.getsockname()) == 200
                process.terminate()
                assert process.wait(60) == 0
            host, port = listener.getsockname()
            with closing(HTTPConnection(host, port, timeout=60)) as waiting:
                waiting.request("GET", "/health/ready")
                with serving_at(url, "--fd", str(listener.fileno()), pass_fds=[listener.fileno()]):
                    assert waiting.getresponse().status == 200

    def test_is_what_systemd_passes_on_and_is_told(self, url: str, tmp_path: Path) -> None:
        with (
            socket.create_server(("127.0.0.1", free_port())) as listener,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        ):
            systemd.bind(str(tmp_path / "notify"))
            systemd.settimeout(60)
            with serving_at(
                url,
                command=[sys.executable, "-c", AS_SYSTEMD, str(listener.fileno())],
                pass_fds=[listener.fileno()],
                NOTIFY_SOCKET=str(tmp_path / "notify"),
            ) as process:
                assert systemd.recv(100) == b"READY=1"
                assert status(listener.getsockname()) == 200
                process.terminate()
                assert systemd.recv(100) == b"STOPPING=1"
                assert process.wait(60) == 0


@contextmanager
def serving_at(
    url: str, *options: str, command: list[str] | None = None, pass_fds: Sequence[int] = (), **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*(command or [sys.executable, "-m", "userapi"]), *options],
        env=environment(url, **SETTINGS, **settings),
        cwd=ROOT,
        pass_fds=pass_fds,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def status(address: tuple[str, int]) -> int:
    with closing(HTTPConnection(*address, timeout=60)) as connection:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        answer.read()
        return answer.status


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
