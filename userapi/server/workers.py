"""A worker as its supervisor sees it: a process, and the channel by which it gets connections."""

import json
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MOST_UNTAKEN = 64  # connections that a worker was given and has not taken


class Worker:
    """A process that serves, from the moment it is started.

    Down the channel go connections, each an open file beside one byte, and in the end nothing more: the worker then
    finishes what it has and goes, as it does should its supervisor die. Up come lines of JSON: `log_format`, once it
    can serve; how many connections it has `taken` since it last said, and how many are `open`; that it is `leaving`,
    because somebody told it to.
    """

    def __init__(self, command: list[str], successor_of: "Worker | None" = None) -> None:
        """Start it: `command` and the number of the channel's descriptor, and let it take another's place if ready."""
        self.channel, inner = socket.socketpair()
        with inner:
            arguments = [sys.executable, *command, str(inner.fileno())]
            # Of a process group of its own: what a terminal sends to all of ours is for the supervisor.
            self.process = subprocess.Popen(arguments, pass_fds=[inner.fileno()], process_group=0)  # noqa: S603
        self.channel.setblocking(False)
        self.successor_of = successor_of
        self.begun = time.monotonic()
        self.ready = False
        self.retired: float | None = None  # since when
        self.given = 0.0  # when it was last given a connection
        self.untaken: deque[socket.socket] = deque()  # kept open, so that another can have them if this one dies
        self._waited_for = 0.0  # since when it has let the first of them wait
        self._open = 0
        self._heard = b""

    @property
    def load(self) -> int:
        """How many connections it has, as far as is known."""
        return self._open + len(self.untaken)

    @property
    def may_take(self) -> bool:
        """Whether it may be given another connection."""
        return self.ready and self.retired is None and len(self.untaken) < MOST_UNTAKEN

    def hangs(self, seconds: float) -> bool:
        """Tell whether it has taken no connection for so long, though there is one."""
        return bool(self.untaken) and time.monotonic() - self._waited_for > seconds

    def give(self, connection: socket.socket) -> None:
        """Give it a connection; if its process is gone, that stays among the untaken."""
        self.given = time.monotonic()
        self._waited_for = self._waited_for if self.untaken else self.given
        self.untaken.append(connection)
        with suppress(OSError):
            socket.send_fds(self.channel, [b"."], [connection.fileno()])

    def hear(self) -> Iterator[dict[str, Any]] | None:
        """Return what it has said since the last time; None if its end of the channel is closed."""
        try:
            data = self.channel.recv(65536)
        except BlockingIOError:
            return iter(())
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        *lines, self._heard = (self._heard + data).split(b"\n")
        return map(json.loads, lines)

    def took(self, many: int, now_open: int) -> None:
        """Take note that it has taken some of the connections that it was given, and of how many it has."""
        self._open, self._waited_for = now_open, time.monotonic()
        for _ in range(many):
            self.untaken.popleft().close()

    def retire(self) -> None:
        """Have it finish what it has, and go."""
        self.retired = time.monotonic()
        with suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)
        if not self.ready:
            self.process.terminate()  # it does not look at its channel yet

    def bury(self) -> int:
        """Wait for its end, which is here or near, and return its exit code."""
        self.channel.close()
        return self.process.wait()
