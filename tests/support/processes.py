"""Processes of the service's commands, and what tests wait for."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from tests.support import forks
from tests.support.forks import Forked

ROOT = Path(__file__).parent.parent.parent
SECRET_KEY = hashlib.sha256(b"for tests only").hexdigest()  # the same in all processes of a run

# Each worker of pytest-xdist has ports of its own, up to 32,000; processes that are none share the last of ten parts.
_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % 10
_PORTS = range(10_000 + 2_200 * _PART, 10_000 + 2_200 * (_PART + 1))
_NUMBERS = count(389 * os.getpid())

Finished = subprocess.CompletedProcess[str]
Process = subprocess.Popen[str] | Forked


def environment(url: str, **settings: str) -> dict[str, str]:
    """The environment of a service process: nothing of the tester's own settings."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "SYSTEMROOT", "LANG", "TMPDIR", "XDG_CACHE_HOME")
        if name in os.environ
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error",
        "DATABASE_URL": url,
        "SECRET_KEY": SECRET_KEY,
        "BCRYPT_ROUNDS": "4",
        **settings,
    }


def start(args: Sequence[str], streams: Sequence[int], env: dict[str, str], cwd: Path, *, fresh: bool) -> Process:
    """Start `python -m args` with these standard streams.

    It is a fork of a process that has imported the service already, which spares a second. It is a fresh interpreter
    if that is asked for, and if a fork would not do: for other code, another `PYTHON...` setting, another library to
    load first.
    """
    forked = (
        args[0] in {"userapi", "uvicorn", "alembic"}
        and "LD_PRELOAD" not in env
        and environment("").items() >= {(name, value) for name, value in env.items() if name.startswith("PYTHON")}
    )
    if forked and not fresh and forks.available():
        return Forked(args, env, cwd, streams)
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        [sys.executable, "-m", *args], env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, text=True
    )


def run(*args: str, url: str, cwd: Path = ROOT, fresh: bool = False, **settings: str) -> Finished:
    """Run `python -m args` to its end; see `start`."""
    with Path(os.devnull).open() as stdin, TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        streams = [stream.fileno() for stream in (stdin, stdout, stderr)]
        code = start(args, streams, environment(url, **settings), cwd, fresh=fresh).wait(120)
        for stream in (stdout, stderr):
            stream.seek(0)
        return Finished(args, code, stdout.read(), stderr.read())


def refused_to_start(finished: Finished) -> str:
    """Check that a command ended as a refusal does, and give its sentence: exit code 1, no traceback."""
    assert finished.returncode == 1, finished
    assert "Traceback" not in finished.stdout + finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: "), finished.stderr
    return lines[0].removeprefix("error: ")


def free_port() -> int:
    """Return a port that nobody listens on, of those that the system gives to no client."""
    for number in _NUMBERS:
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("never reached")


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid]
