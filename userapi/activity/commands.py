"""The operator's command that prints events."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from userapi.activity import listing
from userapi.activity.ocsf import ocsf
from userapi.events.models import EventPublic
from userapi.kit import commands
from userapi.kit.database import Database
from userapi.schema import migrations

NEWEST = 100  # that are printed where no other beginning is named
CHUNK = 1000  # read at once
POLL_SECONDS = 1
INTERRUPTED = 128 + signal.SIGINT  # the exit code that shells give to what Ctrl-C has ended
OVERLAP = 500  # ids below the last one that are looked at again: a unit that took an id early may commit late


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

    async def printed(services: Any) -> None:
        await migrations.require_head(services.database)
        begin = await services.database.read(listing.newest_id) - NEWEST if after is None else after
        await _print(services.database, begin, line, follow)

    try:
        commands.run(printed)
    except KeyboardInterrupt:  # how one ends it: without a word, but not as if all were printed
        sys.exit(INTERRUPTED)


async def _print(database: Database, begin: int, line: Callable[[EventPublic], str], follow: bool) -> None:
    last, printed = begin, set[int]()
    while True:
        found = await database.read(listing.find_newer, max(last - OVERLAP, begin), CHUNK)
        new = [event for event in found if event.id not in printed]
        for event in new:
            click.echo(line(event))
        last, printed = max([last, *(event.id for event in new)]), {event.id for event in found}
        if not new and not follow:
            return
        if not new:
            await asyncio.sleep(POLL_SECONDS)


def _text(event: EventPublic) -> str:
    told: dict[str, Any] = event.model_dump(mode="json", exclude={"id", "at", "name"}, exclude_none=True)
    values = (f"{name}={json.dumps(value)}" for name, value in told.items())
    return " ".join([str(event.id), event.at.isoformat(timespec="milliseconds"), event.name, *values])
