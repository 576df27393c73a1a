"""The operator's command that prints events."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

import click

from userapi.events import listing
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.models import EventPublic, ocsf
from userapi.schema import migrations

NEWEST = 100  # that are printed where no other beginning is named
CHUNK = 1000  # read at once
POLL_SECONDS = 1
OVERLAP = 500  # ids below the last one that are looked at again: a unit that took an id early may commit late


class _Services(Protocol):
    """What this command needs of a running service."""

    @property
    def database(self) -> Database: ...


@click.command()
@click.option("--follow", is_flag=True, help="Go on printing what happens, until interrupted.")
@click.option(
    "--after", type=click.IntRange(0), help="Print all events with ids above this one.  [default: the last 100]"
)
@click.option("--jsonl", "form", flag_value="jsonl", help="A line of JSON for each, as the API answers it.")
@click.option("--ocsf", "form", flag_value="ocsf", help="A line of JSON for each, as OCSF 1.3.0 wants it.")
def events(follow: bool, after: int | None, form: str | None) -> None:
    """Print what happened, the oldest first."""
    forms: dict[str | None, Callable[[EventPublic], str]] = {
        None: _text,
        "jsonl": EventPublic.model_dump_json,
        "ocsf": lambda event: json.dumps(ocsf(event)),
    }
    line = forms[form]

    async def printed(services: _Services) -> None:
        await migrations.require_head(services.database)
        begin = await _print_all(services.database, after, line)
        if follow:
            await _follow(services.database, begin, line)

    commands.run(printed)


async def _print_all(database: Database, after: int | None, line: Callable[[EventPublic], str]) -> int:
    """Print what there is by now; return the id of the last event."""
    last = max(await database.read(listing.newest_id) - NEWEST, 0) if after is None else after
    while found := await database.read(listing.find_newer, last, CHUNK):
        for event in found:
            click.echo(line(event))
        last = found[-1].id
    return last


async def _follow(database: Database, begin: int, line: Callable[[EventPublic], str]) -> None:
    printed = {event.id for event in await database.read(listing.find_newer, begin - OVERLAP, OVERLAP)}
    last = begin
    while True:
        for event in await database.read(listing.find_newer, max(last - OVERLAP, 0), CHUNK):
            if event.id not in printed:
                click.echo(line(event))
            printed.add(event.id)
            last = max(last, event.id)
        printed = {event_id for event_id in printed if event_id > last - OVERLAP}
        await asyncio.sleep(POLL_SECONDS)


def _text(event: EventPublic) -> str:
    told: dict[str, Any] = event.model_dump(mode="json", exclude={"id", "at", "name"}, exclude_none=True)
    values = (f"{name}={json.dumps(value)}" for name, value in told.items())
    return " ".join([str(event.id), event.at.isoformat(timespec="milliseconds"), event.name, *values])
