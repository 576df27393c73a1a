"""The operator's commands about backups."""

from pathlib import Path
from typing import Protocol

import click
from sqlalchemy import URL

from userapi.backups import copying, rules
from userapi.errors import Refusal
from userapi.kit import commands
from userapi.kit.announcements import announce
from userapi.kit.database import Database, sqlite_file
from userapi.schema import migrations
from userapi.settings import CoreSettings

AT_ONCE = 5_000  # sessions ended in one unit of work
BUSY_SECONDS = 60


class _Services(Protocol):
    """What these commands need of a running service."""

    @property
    def settings(self) -> CoreSettings: ...

    @property
    def database(self) -> Database: ...


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy an SQLite database to FILE, while the service runs."""

    async def copied(services: _Services) -> None:
        if (other := _tool(services.settings.url, file)) is not None:
            raise Refusal(other)
        await migrations.require_head(services.database)
        await services.database.write(announce, rules.BackedUp())  # before: so the copy tells where it comes from
        await services.database.unlimited(lambda connection: copying.copy(connection, file), busy_seconds=BUSY_SECONDS)

    commands.run(copied)
    click.echo(f"The database is copied to {file}, without its login sessions")


@click.command()
def end_sessions() -> None:
    """End all login sessions of all users, as after an older backup was restored."""

    async def ended(services: _Services) -> int:
        await migrations.require_head(services.database)
        count = 0
        while some := await services.database.write(rules.end_everybodys, AT_ONCE):
            count += some
        return count

    click.echo(f"{commands.run(ended)} sessions are ended")


def _tool(url: URL, file: Path) -> str | None:
    """Return what to use in place of this command, None for a file of SQLite."""
    name, kind = url.database or "", url.get_backend_name()
    if kind in ("postgres", "postgresql"):
        tool = f"pg_dump --format=custom --exclude-table-data=login_sessions --file={file} {name}"
    elif kind == "sqlite":
        return None if sqlite_file(url) else "a database in memory cannot be copied"
    else:
        tool = (
            f"mariadb-dump --single-transaction --ignore-table-data={name}.login_sessions --result-file={file} {name}"
        )
    return f"a database server makes its backups itself: {tool}"
