"""The operator's command that moves the schema."""

from typing import Protocol

import click

from userapi.kit import commands
from userapi.kit.database import Database
from userapi.schema import migrations


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def database(self) -> Database: ...


@click.command()
@click.option("--to", "target", default="head", show_default=True, help="Revision to move to, up or down.")
@click.option("--check", is_flag=True, help="Change nothing: exit with 1 if there is something to do.")
@click.option("--sql", is_flag=True, help="Change nothing: print the SQL.")
def migrate(target: str, check: bool, sql: bool) -> None:
    """Bring the database's schema to head, or to another revision."""
    if check and sql:
        raise click.UsageError("--check and --sql are not for one call")

    async def moved(services: _Services) -> tuple[str | None, str | None]:
        work = migrations.script if sql else migrations.plan if check else migrations.move
        return await work(services.database, target)

    before, after = commands.run(moved)
    if sql:
        return
    if before == after:
        click.echo(f"The schema is at {after} already")
    elif check:
        commands.fail(f"the schema is at {before or 'nothing'}, not at {after}: run python -m userapi migrate")
    else:
        click.echo(f"The schema went from {before or 'nothing'} to {after}")
