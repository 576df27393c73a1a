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
from userapi.services import Services
from userapi.users.commands import set_password


def all_commands(context: click.Context) -> dict[str, click.Command]:
    """Return the commands by name, and have the context open what they need."""
    commands.be_quiet()
    context.obj = _open_services
    plugged = [command for capability in CAPABILITIES for command in capability.commands]
    return {str(command.name): command for command in (migrate, openapi, create_admin, set_password, unlock, *plugged)}


@click.command()
@click.option("--to", "target", default="head", show_default=True, help="Revision to move to, up or down.")
@click.option("--check", is_flag=True, help="Change nothing: exit with 1 if there is something to do.")
@click.option("--sql", is_flag=True, help="Change nothing: print the SQL.")
def migrate(target: str, check: bool, sql: bool) -> None:
    """Bring the database's schema to head, or to another revision."""

    async def moved(services: Services) -> tuple[str | None, str | None]:
        if sql:
            await migrations.script(services.database, target)
        if check or sql:
            return await migrations.plan(services.database, target)
        return await migrations.move(services.database, target)

    before, after = commands.run(moved)
    if sql:
        return
    if before == after:
        click.echo(f"The schema is at {after} already")
    elif check:
        commands.fail(f"the schema is at {before or 'nothing'}, not at {after}: run python -m userapi migrate")
    else:
        click.echo(f"The schema went from {before or 'nothing'} to {after}")


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
