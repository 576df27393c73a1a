"""The command line: `python -m userapi`."""

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import click
import uvicorn

from userapi import __version__, settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.first_admin import rules as first_admin
from userapi.first_admin.commands import create_admin
from userapi.kit import commands, logs
from userapi.kit.database import sqlite_file
from userapi.main import create_app
from userapi.proof.commands import unlock
from userapi.schema import migrations
from userapi.server.files import connection_limit
from userapi.services import Services
from userapi.users.commands import set_password

SHUTDOWN_SECONDS = 15  # to finish requests before connections are cut


class _ServeByDefault(click.Group):
    """A group whose options, where no command is named, are those of `serve`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put `serve` before options that are not the group's own."""
        own = {name for parameter in self.get_params(context) for name in parameter.opts}
        if not args or (args[0].startswith("-") and args[0].partition("=")[0] not in own):
            args = ["serve", *args]
        return super().parse_args(context, args)


@click.group(cls=_ServeByDefault)
@click.version_option(__version__, prog_name="userapi")
@click.pass_context
def cli(context: click.Context) -> None:
    """User accounts as a REST service. Without a command: serve."""
    for name in ("userapi", "asyncmy"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # commands say what is wrong themselves
    context.obj = _open_services


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that serve.")
@click.option("--root-path", help="Path under which a proxy serves this, in place of ROOT_PATH.")
@click.option("--reload", is_flag=True, help="Start again when the code changes (development).")
def serve(host: str, port: int, workers: int, root_path: str | None, reload: bool) -> None:
    """Prepare the database and serve."""
    if root_path is not None:
        os.environ["ROOT_PATH"] = root_path  # the processes of workers read it there, too
    chosen = commands.refusing(lambda: settings.load(Settings))
    in_memory = chosen.embedded and sqlite_file(chosen.url) is None
    if in_memory and (workers > 1 or reload):
        commands.fail("a database in memory lives in one process: use a file, or one worker without --reload")
    if not in_memory:  # else the serving process prepares its own

        async def prepared(services: Services) -> list[str]:
            return await services.prepare() or await services.database.read(first_admin.reminder)

        for line in commands.run(prepared):
            click.echo(line)
    connection_limit()  # processes of workers inherit the raised limit of open files
    if "*" in chosen.forwarded_allow_ips:
        click.echo(
            "warning: FORWARDED_ALLOW_IPS=* lets every client say what its address is: name your proxies", err=True
        )
    if chosen.docs_enabled:
        click.echo(f"Interactive documentation: http://{'localhost' if host == '0.0.0.0' else host}:{port}/docs")  # noqa: S104
    with ExitStack() as beside:
        works = [capability.beside(chosen, host, workers > 1 or reload) for capability in CAPABILITIES]
        commands.refusing(lambda: [beside.enter_context(work) for work in works])
        _run(chosen, host=host, port=port, workers=workers, reload=reload)


def _run(chosen: Settings, **options: Any) -> None:
    uvicorn.run(
        "userapi.main:app",
        http="userapi.server.protocol:BoundedProtocol",
        server_header=False,
        access_log=False,
        log_config=logs.configuration(chosen.log_format),
        proxy_headers=False,  # the application's own layer reads them
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        **options,
    )


@cli.command()
def migrate() -> None:
    """Bring the database's schema to head."""

    async def upgraded(services: Services) -> tuple[str | None, str | None]:
        return await migrations.upgrade(services.database)

    before, after = commands.run(upgraded)
    moved = f"is at {after} already" if before == after else f"went from {before or 'nothing'} to {after}"
    click.echo(f"The schema {moved}")


@cli.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output, for generators of clients."""
    chosen = commands.refusing(lambda: settings.load(Settings))
    click.echo(json.dumps(create_app(chosen).openapi(), indent=2))


@asynccontextmanager
async def _open_services() -> AsyncIterator[Services]:
    async with Services(settings.load(Settings)) as services:
        with migrations.usable(services.settings.url):
            yield services


for command in (create_admin, set_password, unlock):
    cli.add_command(command)
for capability in CAPABILITIES:
    for command in capability.commands:
        cli.add_command(command)
