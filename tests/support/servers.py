"""Service processes that serve."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Self

import httpx2 as httpx
import sqlalchemy as sa

from tests.support.databases import new_database, sync_engine
from tests.support.processes import ROOT, Process, environment, free_port, start
from tests.support.schema import migrate

_MOST = {"sqlite": 8, "postgresql": 3, "mysql": 3}  # services shared by tests: a server has only so many connections


@dataclass
class Server:
    """A running service process and what it has printed."""

    process: Process
    printed: BinaryIO  # the file that it prints to
    url: str
    base_url: str
    _lines: list[str] = field(default_factory=list)
    _rest: bytes = b""  # of a line that was not complete when it was read
    _read: int = 0

    @property
    def output(self) -> list[str]:
        """The lines that it has printed so far."""
        # `pread`, for the process writes where this file is at.
        while not self.printed.closed and (read := os.pread(self.printed.fileno(), 2**20, self._read)):
            self._read += len(read)
            *lines, self._rest = (self._rest + read).split(b"\n")
            self._lines += [f"{line.decode()}\n" for line in lines]
        return self._lines

    @property
    def text(self) -> str:
        """All that it has printed so far."""
        return "".join(self.output) + self._rest.decode(errors="replace")

    @cached_property
    def engine(self) -> sa.Engine:
        """The tests' own way to its database."""
        return sync_engine(self.url, pool_pre_ping=True)

    def client(self, **options: Any) -> httpx.Client:
        """A client for plain HTTP: not verifying spares the 30 ms that loading certificates takes."""
        return httpx.Client(**{"base_url": self.base_url, "timeout": 30, "verify": False, **options})

    def wait(self, seconds: float = 60) -> Self:
        """Wait until it serves; raises if it does not."""
        deadline = time.monotonic() + seconds
        with self.client(timeout=2) as http:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    if http.get("/health/live").status_code == 200:
                        return self
                except httpx.TransportError:
                    time.sleep(0.02)
        self.stop()
        raise AssertionError(f"the service did not start:\n{self.text}")

    def stop(self, seconds: float = 25) -> int:
        """End it as an operator would (SIGTERM); give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        assert self.output is self._lines  # read to its end, for those who look at it later
        if "engine" in vars(self):
            self.engine.dispose()
        return code


@contextmanager
def launched(
    url: str,
    *options: str,
    command: tuple[str, ...] = ("userapi", "serve"),
    cwd: Path = ROOT,
    host: str = "127.0.0.1",
    fresh: bool = False,
    **settings: Any,
) -> Iterator[Server]:
    """A service process on a free port that may not answer yet, ended afterwards; `fresh` as for `start`."""
    port = free_port()
    args = [*command, "--host", host, "--port", str(port), *options]
    with TemporaryFile() as printed, Path(os.devnull).open() as stdin:
        streams = [stdin.fileno(), printed.fileno(), printed.fileno()]
        process = start(args, streams, environment(url, **settings), cwd, fresh=fresh)
        server = Server(process, printed, url, f"http://{host}:{port}")
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def serving(url: str, *options: str, **settings: Any) -> Iterator[Server]:
    """A service process on a free port that answers, ended afterwards; arguments as for `launched`."""
    with launched(url, *options, **settings) as server:
        yield server.wait()


@contextmanager
def shared_server(kind: str, *options: str, **settings: Any) -> Iterator[Server]:
    """A service for many tests: the wrong passwords of one must not lock out the next, so it has no throttle."""
    with new_database(kind) as url:
        migrate(url)
        settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false", **settings}
        with serving(url, *options, **settings) as server:
            yield server


class Shared:
    """Services for many tests, started when one first asks for them; of a kind of database the latest few go on."""

    def __init__(self) -> None:
        self._running: dict[tuple[object, ...], tuple[Server, ExitStack]] = {}  # the one asked for last comes last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running.values():
            running[1].close()

    def service(self, kind: str, **settings: str) -> Server:
        """Return the service with these settings on a database of this kind."""
        key: tuple[object, ...] = (kind, *sorted(settings.items()))
        running = self._running.pop(key, None)
        if running is None:
            of_kind = [other for other in self._running if other[0] == kind]
            if len(of_kind) >= _MOST[kind]:
                self._running.pop(of_kind[0])[1].close()
            stack = ExitStack()
            running = stack.enter_context(shared_server(kind, **settings)), stack
        self._running[key] = running
        return running[0]
