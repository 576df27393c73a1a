"""The operator's command for who is locked out."""

from typing import Protocol

import click

from userapi.errors import ApiError, ErrorCode, Refusal
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.security.throttle import Throttle
from userapi.settings import CoreSettings
from userapi.users import rules


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def settings(self) -> CoreSettings: ...

    @property
    def database(self) -> Database: ...

    @property
    def throttle(self) -> Throttle | None: ...


@click.command()
@click.argument("username")
def unlock(username: str) -> None:
    """Let a user log in again at once that the throttle has locked out."""

    async def unlocked(services: _Services) -> None:
        throttle = services.throttle
        if throttle is None or services.settings.throttle_storage_url is None:
            raise Refusal(
                "each server process keeps its own throttle: set THROTTLE_STORAGE_URL, or restart the service"
            )
        found = await services.database.read(rules.credentials, username)
        if found is None:
            raise ApiError(ErrorCode.USER_NOT_FOUND)
        user = await services.database.read(rules.find, found.user_id)
        for login in (user.username, user.email):
            await throttle.forgive(login)
        if throttle.alone:
            raise Refusal("the throttle's storage does not answer")

    commands.run(unlocked)
    click.echo(f"{username} may log in again")
