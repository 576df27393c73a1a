"""The operator's command by which users go out."""

import sys
from pathlib import Path
from typing import Protocol

import click

from userapi.exports import rules
from userapi.exports.rules import Form
from userapi.kit import commands
from userapi.kit.database import Database, sqlite_files
from userapi.moving.records import private_file
from userapi.schema import migrations
from userapi.settings import CoreSettings


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def settings(self) -> CoreSettings: ...

    @property
    def database(self) -> Database: ...


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="Default: by the file's name, else jsonl.")
@click.option("--with-hashes", is_flag=True, help="Write the hashes of the passwords, too: keep the file safe.")
def export_users(file: str, form: Form | None, with_hashes: bool) -> None:
    """Export all users to a FILE (CSV or JSON Lines; - is standard output) that `import` reads."""
    chosen: Form = form or ("csv" if file.endswith(".csv") else "jsonl")

    async def exported(services: _Services) -> int:
        await migrations.require_head(services.database)
        if file == "-":
            return await rules.export(services.database, sys.stdout.buffer, chosen, with_hashes=with_hashes)
        with private_file(Path(file), *sqlite_files(services.settings.url)) as out:
            return await rules.export(services.database, out, chosen, with_hashes=with_hashes)

    try:
        click.echo(f"{commands.run(exported)} users are exported", err=True)
    except OSError as error:
        commands.fail(f"{file}: {error.strerror}")
