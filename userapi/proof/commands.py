"""The operator's command for who is locked out."""

from typing import Protocol

import click

from userapi.errors import ApiError, ErrorCode, Refusal
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.kit.web import addresses
from userapi.models import now
from userapi.proof import credentials, guards
from userapi.proof.guards import LoginUnlocked
from userapi.schema import migrations
from userapi.security import throttle
from userapi.security.settings import SecuritySettings
from userapi.security.throttle import Throttle


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def settings(self) -> SecuritySettings: ...

    @property
    def database(self) -> Database: ...

    @property
    def throttle(self) -> Throttle | None: ...


@click.command()
@click.argument("username", required=False)
@click.option("--address", help="Let an address log in again, in place of a user.")
def unlock(username: str | None, address: str | None) -> None:
    """Let a user log in again at once that the throttle has locked out, or an address."""
    if (username is None) == (address is None):
        commands.fail("name a user, or an address with --address")
    if address is not None and addresses.parse(address) is None:
        commands.fail(f"{address} is no address")

    async def unlocked(services: _Services) -> None:
        await migrations.require_head(services.database)
        user_id = None if username is None else await _forgiven(services, username)
        keys = [throttle.address_key(address)] if address is not None else _keys(user_id or 0, username or "")
        await services.database.write(guards.unlock, keys, now(), LoginUnlocked(user_id, address))
        counting = services.throttle
        if counting is not None and services.settings.throttle_storage_url is not None:
            await counting.forgive(*keys)
            if counting.alone:
                raise Refusal("the throttle's storage does not answer")

    commands.run(unlocked)
    click.echo(f"{username or address} may log in again")


async def _forgiven(services: _Services, username: str) -> int:
    """Forgive the guesses of a user that the database counts; return the user's id."""
    found = await services.database.read(credentials.find, username)
    if found is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    await services.database.write(guards.forgive_guesses, found.user_id)
    return found.user_id


def _keys(user_id: int, username: str) -> list[str]:
    """Return the keys of what the throttle counts of a user."""
    return [throttle.strangers(user_id, username).key, throttle.known_devices(user_id).key]
