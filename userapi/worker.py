"""A process that serves: `python -m userapi.worker`, started by the supervisor, which gives it its connections."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import click
import uvicorn

from userapi import settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.errors import Refusal
from userapi.first_admin import rules as first_admin
from userapi.kit import commands, logs
from userapi.kit.database import sqlite_file
from userapi.schema import migrations
from userapi.server.serving import Server
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
    if chosen.signing_key_files and not chosen.issuer_url:
        click.echo("warning: SIGNING_KEY_FILES without ISSUER_URL: metadata and tokens name two issuers", err=True)
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


def main(address: str, workers: str, which: str, channel: str) -> None:
    """Serve; the `first` worker prepares the database before, so that its refusal is the service's.

    `channel` is the descriptor of the socket that leads to the supervisor.
    """
    chosen = prepare(address, alone=workers == "1") if which == "first" else commands.refusing(_settings)
    with (
        socket.socket(fileno=int(channel)) as supervisor,
        _beside(chosen, first=which == "first", alone=workers == "1"),
    ):
        Server(uvicorn.Config(**_options(chosen)), supervisor, chosen.log_format).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
