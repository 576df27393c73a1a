"""A process that serves: `python -m userapi.worker`, started by the supervisor, which gives it its connections."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import click
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from userapi import settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.errors import Refusal
from userapi.first_admin import rules as first_admin
from userapi.kit import commands, logs
from userapi.kit.database import sqlite_file
from userapi.schema import migrations
from userapi.server.files import KEPT_FREE, connection_limit
from userapi.server.supervisor import SHUTDOWN_SECONDS
from userapi.services import Services


def prepare(address: str, *, alone: bool) -> Settings:
    """Check the settings, prepare the database, and tell the operator what it should read; return the settings.

    `alone` tells that one process will serve. A refusal ends the process with exit code 1.
    """
    commands.be_quiet()
    chosen = commands.refusing(_settings)
    commands.refusing(lambda: asyncio.run(_prepare(chosen, address, alone=alone)))
    return chosen


def serve_alone(host: str, port: int, workers: int, *, reload: bool) -> None:
    """Serve without a supervisor: by uvicorn, as it comes."""
    chosen = prepare(f"http://{host}:{port}", alone=workers == 1 and not reload)
    with _beside(chosen, first=True, alone=True):
        uvicorn.run(**_options(chosen), host=host, port=port, workers=workers, reload=reload)


def _options(chosen: Settings) -> dict[str, Any]:
    """Return uvicorn's options, but for where to listen."""
    return {
        "app": "userapi.main:app",
        "http": "userapi.server.protocol:BoundedProtocol",
        "server_header": False,
        "access_log": False,
        "log_config": logs.configuration(chosen.log_format),
        "proxy_headers": False,  # the application's own layer reads them
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }


def _settings() -> Settings:
    return settings.load(Settings)


async def _prepare(chosen: Settings, address: str, *, alone: bool) -> None:
    if chosen.embedded and sqlite_file(chosen.url) is None:  # the application prepares its own
        if not alone:
            raise Refusal("a database in memory lives in one process: use a file, or one worker without --reload")
    else:
        async with Services(chosen) as services:
            with migrations.usable(chosen.url):
                notes = await services.prepare() or await services.database.read(first_admin.reminder)
        for line in notes:
            click.echo(line)
    if "*" in chosen.forwarded_allow_ips:
        click.echo(
            "warning: FORWARDED_ALLOW_IPS=* lets every client say what its address is: name your proxies", err=True
        )
    if chosen.docs_enabled:
        click.echo(f"Interactive documentation: {address}/docs")


@contextmanager
def _beside(chosen: Settings, *, first: bool, alone: bool) -> Iterator[None]:
    """Do what capabilities do beside serving. A refusal ends the process with exit code 1."""
    with ExitStack() as stack:
        for capability in CAPABILITIES:
            work = capability.beside(chosen, first, alone)
            commands.refusing(partial(stack.enter_context, work))
        yield


class _Worker(uvicorn.Server):
    """uvicorn's server, which takes connections that its supervisor has accepted."""

    def __init__(self, config: uvicorn.Config, channel: socket.socket, log_format: str) -> None:
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


def main(address: str, workers: str, which: str, channel: str) -> None:
    """Serve; the `first` worker prepares the database before, so that its refusal is the service's.

    `channel` is the descriptor of the socket that leads to the supervisor.
    """
    chosen = prepare(address, alone=workers == "1") if which == "first" else commands.refusing(_settings)
    with (
        socket.socket(fileno=int(channel)) as supervisor,
        _beside(chosen, first=which == "first", alone=workers == "1"),
    ):
        _Worker(uvicorn.Config(**_options(chosen)), supervisor, chosen.log_format).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
