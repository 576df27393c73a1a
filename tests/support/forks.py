"""Starts of the service by a fork server, which spares the second that each takes to import it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fork_server import ANSWER

_PATH = "USERAPI_TEST_FORK_SERVER"  # the setting by which all processes of a run find its fork server


@contextmanager
def fork_server(env: Mapping[str, str], cwd: Path) -> Iterator[None]:
    """Run a fork server for this process and those that it starts; it imports while they do other things."""
    with tempfile.TemporaryDirectory(prefix="userapi_") as folder, pytest.MonkeyPatch.context() as patch:
        path = f"{folder}/forks"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen(64)
            command = [sys.executable, "-m", "tests.support.fork_server", str(listener.fileno())]
            process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        patch.setenv(_PATH, path)
        with process:  # it ends when its standard input does
            yield


def available() -> bool:
    """Whether a fork server runs."""
    return _PATH in os.environ


class Forked:
    """A process that the fork server has started, as `subprocess.Popen` would show it."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], cwd: Path, streams: Sequence[int]) -> None:
        self.returncode: int | None = None
        self._answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answers.connect(os.environ[_PATH])
        asked = {"args": [*args], "env": {**env}, "cwd": str(cwd)}
        socket.send_fds(self._answers, [json.dumps(asked).encode()], streams)
        self.pid = self._answer(60)

    def _answer(self, seconds: float | None) -> int:
        self._answers.settimeout(seconds)
        number: int
        (number,) = ANSWER.unpack(self._answers.recv(ANSWER.size))
        return number

    def poll(self) -> int | None:
        """Return its return code if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait so many seconds for its end, and return its return code."""
        if self.returncode is None:
            try:
                self.returncode = self._answer(timeout)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from error
            self._answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)
