"""Every command but `serve`, which does not wait for what these import."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from userapi import settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.first_admin.commands import create_admin
from userapi.kit import commands
from userapi.main import create_app
from userapi.proof.commands import unlock
from userapi.schema import migrations
from userapi.schema.commands import migrate
from userapi.services import Services
from userapi.users.commands import set_password


def all_commands(context: click.Context) -> dict[str, click.Command]:
    """Return the commands by name, and have the context open what they need."""
    commands.be_quiet()
    context.obj = _open_services
    plugged = [command for capability in CAPABILITIES for command in capability.commands]
    return {str(command.name): command for command in (migrate, openapi, create_admin, set_password, unlock, *plugged)}


@click.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output, for generators of clients."""
    chosen = commands.refusing(lambda: settings.load(Settings))
    click.echo(json.dumps(create_app(chosen).openapi(), indent=2))


@asynccontextmanager
async def _open_services() -> AsyncIterator[Services]:
    async with Services(settings.load(Settings)) as services:
        with migrations.usable(services.settings.url):
            yield services
