"""The operator's command by which users come in."""

import csv
import io
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import click
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from userapi.imports import writing
from userapi.imports.checking import Checker, Rules
from userapi.imports.staging import Staging
from userapi.kit import commands
from userapi.kit.database import Database, driver_url, sqlite_files
from userapi.models import UserImport
from userapi.moving import records
from userapi.moving.columns import Columns
from userapi.moving.commands import timezone_option
from userapi.moving.records import Row
from userapi.schema import migrations
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.settings import CoreSettings

FIELDS = tuple(UserImport.model_fields)  # the columns there may be, as the API names them
CHUNK = 500  # rows that are checked at a time
SHOWN = 20  # refused rows


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def settings(self) -> CoreSettings: ...

    @property
    def database(self) -> Database: ...

    @property
    def passwords(self) -> Passwords: ...

    @property
    def strength(self) -> Strength: ...


def _source(_context: click.Context, _parameter: click.Parameter, text: str | None) -> URL | None:
    try:
        url = make_url(text) if text else None
        if url is not None:
            driver_url(url)
    except (ArgumentError, KeyError, ValueError) as error:
        raise click.BadParameter("is no URL like sqlite:///./other.db or postgresql://localhost/app") from error
    return url


@click.command("import")
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--from", "url", callback=_source, help="Read a table of this database in place of a file.")
@click.option("--table", default="users", show_default=True, help="Which table: users, or auth.users.")
@click.option("--map", "mapping", multiple=True, help="field=column,...; field= takes none.")
@timezone_option
@click.option("--make-usernames", is_flag=True, help="Make usernames of addresses, or of names that may not be.")
@click.option("--update", is_flag=True, help="Change users that are there: those of the id, or else of the username.")
@click.option("--skip-errors", is_flag=True, help="Import the rest when rows are refused.")
@click.option("--errors", type=click.Path(dir_okay=False, path_type=Path), help="Write the refused rows here (CSV).")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
def import_users(
    file: BinaryIO | None, url: URL | None, table: str, mapping: tuple[str, ...], errors: Path | None, **options: Any
) -> None:
    """Import users from a FILE (CSV or JSON Lines; - is standard input) or from another database."""
    if (file is None) == (url is None):
        raise click.UsageError("name a FILE, or a database with --from")

    async def imported(services: _Services) -> int:
        await migrations.require_head(services.database)
        columns = Columns(FIELDS, mapping)
        rows = _of_table(url, table, columns) if url else records.of_file(file or sys.stdin.buffer, columns)
        with closing(Staging()) as staging:
            rules = Rules(options["update"], options["make_usernames"], options["zone"])
            checker = Checker(services.database, services.strength, services.passwords, staging, rules)
            await _check(checker, rows, file)
            kept = [*sqlite_files(services.settings.url), *_sources(file, url)]
            _tell_refused(staging, checker.refused, errors, kept)
            stopped = bool(checker.refused) and not options["skip_errors"]
            if not stopped and not options["dry_run"]:
                await _write(services, staging)
            _summarise(staging, checker, "nothing is imported" if stopped else "dry run" if options["dry_run"] else "")
            return int(stopped)

    sys.exit(commands.run(imported))


def _sources(file: BinaryIO | None, url: URL | None) -> list[Path]:
    """Return the files that are read."""
    if url:
        return sqlite_files(url)
    name = getattr(file, "name", None)  # standard input may have none
    return [Path(name)] if name else []


async def _of_table(url: URL, table: str, columns: Columns) -> AsyncIterator[Row]:
    with migrations.usable(url):  # or it would be said of our own database
        async for row in records.of_table(url, table, columns):
            yield row


async def _check(checker: Checker, rows: AsyncIterator[Row], file: BinaryIO | None) -> None:
    whole = records.size(file) if file else 0
    waiting: list[Row] = []
    with _progress("Checking", whole) as shown:
        async for row in rows:
            waiting.append(row)
            if len(waiting) == CHUNK:
                await checker.take(waiting)
                waiting.clear()
                shown.update(file.tell() - shown.pos if file and whole else 0)
        await checker.take(waiting)


async def _write(services: _Services, staging: Staging) -> None:
    if plain := staging.count(to_hash=True):
        with _progress("Hashing", plain) as shown:
            await writing.hash_passwords(services.passwords, staging, shown.update)
    with _progress("Writing", staging.count()) as shown:
        await writing.write(services.database, staging, shown.update)


@contextmanager
def _progress(label: str, length: int) -> Iterator[Any]:
    """Show how far it is, on a terminal."""
    hidden = not length or not sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden) as shown:
        yield shown


def _tell_refused(staging: Staging, count: int, errors: Path | None, kept: Sequence[Path]) -> None:
    for line, _, _, reason in islice(staging.refused(), SHOWN):
        click.echo(f"line {line}: {reason}", err=True)
    if count > SHOWN:
        click.echo(f"... and {count - SHOWN} more{'' if errors else ': --errors FILE writes all'}", err=True)
    if errors is not None:
        with records.private_file(errors, *kept) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("line", "username", "email", "reason"))
            writer.writerows(staging.refused())


def _summarise(staging: Staging, checker: Checker, instead: str) -> None:
    new, changed = staging.count(new=True), staging.count(new=False)
    counts = f"{new} new, {changed} changed, {checker.unchanged} there already, {checker.refused} refused"
    click.echo(f"Users: {counts}{'; ' if instead else ''}{instead}")
