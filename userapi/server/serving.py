"""A worker as it sees itself: it takes connections from its supervisor, and tells it how many it has."""

import asyncio
import gc
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from userapi.server.files import KEPT_FREE, connection_limit

GARBAGE = 5_000  # objects that may be new before they are looked through; Python's 700 are few for concurrent requests


class Server(uvicorn.Server):
    """uvicorn's server, which takes connections that its supervisor has accepted."""

    def __init__(self, config: uvicorn.Config, channel: socket.socket, log_format: str) -> None:
        """Serve as configured; `channel` leads to the supervisor, which logs in the format it is told."""
        super().__init__(config)
        self._channel, self._log_format = channel, log_format
        self._beginning: set[asyncio.Future[Any]] = set()  # connections that were taken and are not made yet
        self._told = 0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let the supervisor say when to end: it must not give a connection to a worker that goes."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, without a socket of its own."""
        await super().startup(sockets=sockets or [])
        # What is there by now stays, and need not be looked through for garbage again: changes of 64 clients at once
        # took a seventh more processor time, and a p99 of 130 ms, not 55, for that is done in the middle of a request.
        gc.freeze()
        gc.set_threshold(GARBAGE)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._tell(leaving=True))
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        self._channel.setblocking(False)
        loop.add_reader(self._channel, self._take)
        self._tell(log_format=self._log_format)

    async def on_tick(self, counter: int) -> bool:
        """Tell how many connections there are, ten times a second if that changes."""
        if len(self.server_state.connections) != self._told:
            self._tell(taken=0)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End when all that was taken has been served."""
        if self._beginning:
            await asyncio.wait(self._beginning)
        await super().shutdown(sockets)

    def _take(self) -> None:
        """Take the connections that are there, as far as there is room; go when there will be none any more."""
        taken = 0
        most = connection_limit() + KEPT_FREE // 2  # those above the limit push out older ones, which takes a moment
        with suppress(BlockingIOError):
            while self._many < most:
                message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
                if not message:
                    asyncio.get_running_loop().remove_reader(self._channel)
                    self.should_exit = True
                    break
                taken += 1  # without a descriptor, too: the system had no more files, and the client is turned away
                for descriptor in descriptors:
                    self._begin(socket.socket(fileno=descriptor))
        if taken:
            self._tell(taken=taken)

    @property
    def _many(self) -> int:
        """How many connections there are."""
        return len(self.server_state.connections) + len(self._beginning)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        beginning = asyncio.ensure_future(
            asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        )
        self._beginning.add(beginning)
        beginning.add_done_callback(lambda _: self._begun(beginning, connection))

    def _begun(self, beginning: asyncio.Future[Any], connection: socket.socket) -> None:
        self._beginning.discard(beginning)
        if beginning.cancelled() or beginning.exception() is not None:
            connection.close()  # its client has gone again

    def _protocol(self) -> asyncio.Protocol:
        kind: type[HttpToolsProtocol] = self.config.http_protocol_class  # type: ignore[assignment]  # as in our options
        return kind(self.config, self.server_state, self.lifespan.state)

    def _tell(self, **what: Any) -> None:
        if "taken" in what:
            self._told = what["open"] = self._many
        with suppress(OSError):  # the supervisor is gone, and so shall we be
            self._channel.send(json.dumps(what).encode() + b"\n")
