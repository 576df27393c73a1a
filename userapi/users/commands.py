"""The operator's commands for users."""

from typing import Protocol

import click
from pydantic import TypeAdapter, ValidationError

from userapi.errors import ApiError, ErrorCode
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.models import Password, UserCreate, UserRow
from userapi.proof import credentials
from userapi.schema import migrations
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.settings import CoreSettings
from userapi.users import changes, rules


class _Services(Protocol):
    """What these commands need of a running service."""

    @property
    def settings(self) -> CoreSettings: ...

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
    try:
        new = UserCreate(username=name, email=address, password=password, is_admin=True)
    except ValidationError as error:
        commands.fail("; ".join(f"{item['loc'][0]}: {commands.reason(item)}" for item in error.errors()))

    async def created(services: _Services) -> None:
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


@click.command()
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
def set_password(username: str, password_stdin: bool) -> None:
    """Give a user a new password and end its sessions."""

    async def existing(services: _Services) -> UserRow:
        await migrations.require_head(services.database)
        found = await services.database.read(credentials.find, username)
        if found is None:
            raise ApiError(ErrorCode.USER_NOT_FOUND)
        return await services.database.read(rules.find, found.user_id)

    user = commands.run(existing)
    try:
        password = TypeAdapter(Password).validate_python(commands.new_password(password_stdin))
    except ValidationError as error:
        commands.fail("; ".join(f"password: {commands.reason(item)}" for item in error.errors()))

    async def changed(services: _Services) -> None:
        await services.strength.require(password, user.username, user.email)
        new = changes.NewPassword(password, await services.passwords.hash(password))
        await services.database.write(changes.set_password, username, new)

    commands.run(changed)
    click.echo(f"{username} has a new password; its sessions are ended")
