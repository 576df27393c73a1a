"""A process that has imported the service once, and forks for each start of it: importing takes a second each time.

Its one argument is the descriptor of a listening UNIX socket, which `forks` talks to. A request is one message: a JSON
object, sent with three file descriptors, the standard streams. What runs in the fork is what `python -m` runs, with the
arguments, the environment and the folder of the request. It is answered by the fork's process id and, once the fork has
ended, its return code as `subprocess` has it, four bytes each. A fork is killed when whoever asked for it goes away,
and all of them when the fork server's own standard input ends.
"""

import asyncio
import atexit
import gc
import importlib
import json
import logging
import os
import runpy
import secrets
import selectors
import signal
import socket
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from userapi.capabilities import Settings
from userapi.main import create_app
from userapi.server import workers
from userapi.settings import load

ANSWER = struct.Struct("i")
LONGEST = 200_000  # bytes of a request
# What each start imports; and what it does only when it is needed: drivers of databases, parts of the server, the
# estimate of passwords.
_LOADED = [
    "userapi.cli",
    "userapi.commands",
    "userapi.main",
    "anyio._backends._asyncio",
    "asyncmy",
    "psycopg",
    "sqlalchemy.dialects.mysql.asyncmy",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.main",
    "uvicorn.protocols.websockets.auto",
    "zxcvbn",
]


class ForkServer:
    """Forks that run, each with the connection over which it was asked for."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._running: dict[int, tuple[int, socket.socket]] = {}  # by process id: its descriptor, its connection

    def serve(self) -> dict[str, Any] | None:
        """Serve until the standard input ends, and return nothing; in a fork, return what is to run there."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    for pid in self._running:
                        os.kill(pid, signal.SIGKILL)
                    self._leave()
                    return None
                if key.fileobj is self._listener:
                    if (asked := self._fork()) is not None:
                        return asked
                elif isinstance(key.fileobj, int):
                    self._ended(key.data)
                elif key.data in self._running:  # whoever asked for it is gone
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _fork(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        message, streams, _, _ = socket.recv_fds(connection, LONGEST, 3)
        asked: dict[str, Any] = json.loads(message)
        if (pid := os.fork()) == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            connection.close()
            self._leave()
            return asked
        for stream in streams:
            os.close(stream)
        descriptor = os.pidfd_open(pid)
        self._running[pid] = descriptor, connection
        self._selector.register(descriptor, selectors.EVENT_READ, pid)
        self._selector.register(connection, selectors.EVENT_READ, pid)
        connection.send(ANSWER.pack(pid))
        return None

    def _ended(self, pid: int) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        descriptor, connection = self._running.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
            with suppress(OSError):  # whoever asked may have gone just now
                connection.send(ANSWER.pack(code))
        connection.close()

    def _leave(self) -> None:
        """Close what belongs to the fork server alone."""
        self._selector.close()
        self._listener.close()
        for descriptor, connection in self._running.values():
            os.close(descriptor)
            connection.close()


class ForkedWorker:
    """A worker as a fork of its supervisor, for the same reason: in the place of the `subprocess.Popen` there."""

    def __init__(self, arguments: list[str], pass_fds: list[int], process_group: int) -> None:
        sys.stdout.flush()
        self.pid = os.fork()
        self._code: int | None = None
        if self.pid == 0:
            os.setpgid(0, process_group)
            _run_to_its_end(lambda: self._work(arguments[2:], pass_fds))  # the stack above is the supervisor's

    @staticmethod
    def _work(args: list[str], pass_fds: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor > 2 and descriptor not in pass_fds:
                with suppress(OSError):
                    os.close(descriptor)
        logging.root.handlers.clear()
        _become(args, dict(os.environ), str(Path.cwd()))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


def _warm_up() -> None:
    """Begin and end the service once here: what libraries do at their first use, no fork has to do again."""
    with tempfile.TemporaryDirectory(prefix="userapi_") as folder:
        settings = {"DATABASE_URL": f"sqlite:///{folder}/warm.db", "SECRET_KEY": secrets.token_hex()}
        os.environ.update(settings)

        async def serve() -> None:
            app = create_app(load(Settings))
            async with app.router.lifespan_context(app):
                pass

        asyncio.run(serve())
        for name in settings:
            del os.environ[name]


def _run_to_its_end(run: Callable[[], None]) -> None:
    """Run, and end this process as Python would; but that frees all objects first, which takes 100 ms in a fork."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - it is the end
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(args: list[str], env: dict[str, str], cwd: str) -> None:
    """Run a module as `python -m` does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    sys.argv[:] = args
    runpy.run_module(args[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that of the terminal is for the tests, which end what they began
    for name in _LOADED:
        importlib.import_module(name)
    _warm_up()
    gc.collect()
    gc.freeze()  # so that the forks share what they do not change
    asked = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if asked is not None:
        vars(workers)["subprocess"] = SimpleNamespace(Popen=ForkedWorker)  # all that it uses of it
        _run_to_its_end(partial(_become, **asked))
