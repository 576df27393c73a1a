"""The operator's commands for OAuth clients."""

from typing import Protocol

import click

from userapi.clients import rules
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.schema import migrations


class _Services(Protocol):
    """What these commands need of a running service."""

    @property
    def database(self) -> Database: ...


@click.command()
@click.argument("name")
def create_client(name: str) -> None:
    """Make credentials by which another service may ask about tokens; the secret is shown this once."""
    secret = rules.new_secret()

    async def created(services: _Services) -> None:
        await migrations.require_head(services.database)
        await services.database.write(rules.create, name, secret)

    commands.run(created)
    click.echo(f"client_id: {name}\nclient_secret: {secret}")


@click.command()
def list_clients() -> None:
    """List the names of these clients."""

    async def listed(services: _Services) -> list[str]:
        await migrations.require_head(services.database)
        return await services.database.read(rules.names)

    for name in commands.run(listed):
        click.echo(name)


@click.command()
@click.argument("name")
def delete_client(name: str) -> None:
    """Delete such a client: its secret is worth nothing any more."""

    async def deleted(services: _Services) -> None:
        await migrations.require_head(services.database)
        await services.database.write(rules.delete, name)

    commands.run(deleted)
    click.echo(f"The client {name} is deleted")
