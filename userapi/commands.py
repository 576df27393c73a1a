"""Every command but `serve`, which does not wait for what these import."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from userapi import settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.kit import commands
from userapi.login.commands import unlock
from userapi.schema import migrations
from userapi.services import Services
from userapi.users.commands import create_admin, set_password


def all_commands(context: click.Context) -> dict[str, click.Command]:
    """Return the commands by name, and have the context open what they need."""
    for name in ("userapi", "asyncmy"):
        logging.getLogger(name).addHandler(logging.NullHandler())  # commands say what is wrong themselves
    context.obj = _open_services
    plugged = [command for capability in CAPABILITIES for command in capability.commands]
    return {str(command.name): command for command in (migrate, create_admin, set_password, unlock, *plugged)}


@click.command()
def migrate() -> None:
    """Bring the database's schema to head."""

    async def upgraded(services: Services) -> tuple[str | None, str | None]:
        return await migrations.upgrade(services.database)

    before, after = commands.run(upgraded)
    moved = f"is at {after} already" if before == after else f"went from {before or 'nothing'} to {after}"
    click.echo(f"The schema {moved}")


@asynccontextmanager
async def _open_services() -> AsyncIterator[Services]:
    async with Services(settings.load(Settings)) as services:
        with migrations.usable(services.settings.url):
            yield services
