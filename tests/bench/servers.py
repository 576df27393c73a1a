"""Server processes, started as a user would and ended by their process ids."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.machine import settle, tree
from tests.support.processes import environment, free_port

START_SECONDS = 60
STOP_SECONDS = 25

USERAPI = ("userapi", "serve")
TUTORIAL = ("uvicorn", "tests.bench.tutorial_app:app")
CONSTANT = ("uvicorn", "tests.bench.constant_app:app")


class Server:
    """A server on a free port; all it prints goes to a file. Whoever starts it sees to it that it is stopped."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """In `command`, `{port}` stands for its port; `folder` gets its output."""
        self.port = free_port()
        self._log = folder / f"{self.port}.log"
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("wb") as output, _interrupted_later():
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._log.parent,  # no .env of the tester's
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches it through stop
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def answers(self, seconds: float) -> bool:
        """Tell whether it answers anything within this time."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), seconds) as client:
                client.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return client.recv(12).startswith(b"HTTP/1.1")
        except OSError:
            return False

    def wait(self) -> None:
        """Wait for the first answer.

        Raises: RuntimeError, with what the server printed, if there is none.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if self.answers(5):
                return
            time.sleep(0.002)
        raise RuntimeError(f"{' '.join(self._command)} did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it and its workers, by force if they take longer than this; nothing, if it was not started."""
        if self._process is None:
            return
        members = tree(self.pid)
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        """End it at once and start it anew on the same port."""
        self.stop(1)
        self.start()
        self.wait()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: in the middle of it a process might be there that nobody knows."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


class PythonServer(Server):
    """A server that a module of Python is, run as `python -m` does."""

    def __init__(
        self,
        module: tuple[str, ...],
        url: str,
        folder: Path,
        *,
        workers: int = 1,
        rounds: int = 4,
        python: str = sys.executable,
    ) -> None:
        """`rounds` is its bcrypt cost, `url` its database's."""
        self._kind = (module, url, folder)
        settings = environment(
            url,
            TUTORIAL_DATABASE_URL=url,
            BCRYPT_ROUNDS=str(rounds),
            ACCESS_TOKEN_EXPIRE_MINUTES="1440",
            PYTHONWARNINGS="",
        )
        super().__init__([python, "-m", *module, "--port", "{port}", "--workers", str(workers)], settings, folder)

    def start_seconds(self) -> float:
        """Give the time from the start of another server like this, with one worker, to its first answer."""
        begun = time.perf_counter()
        other = PythonServer(*self._kind)
        try:
            other.start()
            other.wait()
            return time.perf_counter() - begun
        finally:
            other.stop()


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start servers and wait until they are ready and idle; end them afterwards."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        for server in servers:
            settle(server.pid)  # further workers may still be starting
        yield
    finally:
        for server in servers:
            server.stop()
