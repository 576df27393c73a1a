"""The operator's commands for users."""

from typing import Protocol

import click

from userapi.errors import ApiError, ErrorCode
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.models import UserRow, UserUpdate
from userapi.proof import credentials
from userapi.schema import migrations
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.users import changes, rules


class _Services(Protocol):
    """What these commands need of a running service."""

    @property
    def database(self) -> Database: ...

    @property
    def passwords(self) -> Passwords: ...

    @property
    def strength(self) -> Strength: ...


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
    typed = commands.new_password(password_stdin)

    async def changed(services: _Services) -> None:
        password = UserUpdate(password=typed).password or ""
        await services.strength.require(password, user.username, user.email)
        new = changes.NewPassword(password, await services.passwords.hash(password))
        await services.database.write(changes.set_password, username, new)

    commands.run(changed)
    click.echo(f"{username} has a new password; its sessions are ended")
