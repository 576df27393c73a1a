"""The operator's command that makes an admin."""

from typing import Protocol

import click

from userapi.first_admin.settings import FirstAdminSettings
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.models import UserCreate
from userapi.proof import credentials
from userapi.schema import migrations
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.users import changes, rules


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def settings(self) -> FirstAdminSettings: ...

    @property
    def database(self) -> Database: ...

    @property
    def passwords(self) -> Passwords: ...

    @property
    def strength(self) -> Strength: ...


@click.command()
@click.option("--username", help="Default: FIRST_ADMIN_USERNAME, or admin.")
@click.option("--email", help="Default: FIRST_ADMIN_EMAIL, or admin@example.com.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--promote", is_flag=True, help="If the user exists, make it an active admin; its password stays.")
def create_admin(username: str | None, email: str | None, password_stdin: bool, promote: bool) -> None:
    """Make an admin."""

    async def existing(services: _Services) -> tuple[str, str, bool]:
        await migrations.require_head(services.database)
        name, address = username or services.settings.first_admin_username, services.settings.first_admin_email
        exists = await services.database.read(credentials.find, name) is not None
        return name, email or address, exists

    name, address, exists = commands.run(existing)
    if exists:
        _promote(name, promote)
        return
    password = commands.new_password(password_stdin)

    async def created(services: _Services) -> None:
        new = UserCreate(username=name, email=address, password=password, is_admin=True, email_verified=True)
        await services.strength.require(new.password, new.username, new.email)
        await services.database.write(rules.create, new, await services.passwords.hash(new.password))

    commands.run(created)
    click.echo(f"{name} is made, an active admin")


def _promote(username: str, promote: bool) -> None:
    if not promote:
        commands.fail(f"{username} exists already; --promote makes it an active admin")

    async def promoted(services: _Services) -> bool:
        return await services.database.write(changes.promote, username)

    changed = commands.run(promoted)
    click.echo(f"{username} is an active admin{' now' if changed else ' already'}")
