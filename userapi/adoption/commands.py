"""The operator's command that makes the tutorial's database the service's own."""

from datetime import tzinfo
from typing import Protocol

import click

from userapi.adoption import adopting
from userapi.adoption.adopting import OLD, Adopted, Result
from userapi.kit import commands
from userapi.kit.announcements import announce
from userapi.kit.database import Database
from userapi.moving.commands import timezone_option
from userapi.schema import locks


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def database(self) -> Database: ...


@click.command()
@timezone_option
@click.option("--rename-collisions", is_flag=True, help="Give users whose names collide new ones, made with their ids.")
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
def adopt(zone: tzinfo, rename_collisions: bool, dry_run: bool) -> None:
    """Make a database of the tutorial this service's own: every user, id, hash and time is kept."""

    async def adopted(services: _Services) -> Result:
        result = await locks.migrate(
            services.database,
            lambda connection: adopting.adopt(connection, zone, rename=rename_collisions, dry_run=dry_run),
        )
        if not (result.wrong or dry_run):
            await services.database.write(announce, Adopted(result.users, len(result.renamed)))
        return result

    result = commands.run(adopted)
    for line in result.wrong:
        click.echo(line, err=True)
    if result.wrong:
        commands.fail(f"{len(result.wrong)} of {result.users} users cannot be taken over; nothing is changed")
    for user_id, names in sorted(result.renamed.items()):
        for name, value in names.items():
            click.echo(f"id {user_id}: {name} {'would be' if dry_run else 'is'} {value}")
    if dry_run:
        click.echo(f"{result.users} users would be adopted")
        return
    click.echo(f"{result.users} users are adopted")
    if result.kept:
        click.echo(f"The old table has more columns, and is kept as {OLD}: drop it when you do not need them")
    if not result.admins:
        click.echo("None of them is an active admin: make one with python -m userapi create-admin")
