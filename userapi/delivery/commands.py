"""The operator's command for mails that wait."""

from collections.abc import Sequence
from typing import Any

import click

from userapi.delivery import outbox
from userapi.kit import commands
from userapi.schema import migrations


@click.command()
@click.option("--again", is_flag=True, help="Send what was put off or given up now; codes that were given up are gone.")
def mail(again: bool) -> None:
    """Show the newest 100 mails that wait or were given up."""

    async def work(services: Any) -> tuple[int, Sequence[Any]]:
        await migrations.require_head(services.database)
        count = await services.database.write(outbox.send_again) if again else 0
        return count, await services.database.read(outbox.find_waiting, 100)

    count, found = commands.run(work)
    if again:
        click.echo(f"{count} will be sent now, by the service that runs")
    for one in found:
        state = f"waits until {one.due_at:%Y-%m-%d %H:%M:%S} UTC" if one.due_at else "given up"
        wrong = f": {one.error}" if one.error else ""
        click.echo(f"{one.id} {one.kind} to {one.recipient}, tried {one.attempts} times, {state}{wrong}")
    if not found:
        click.echo("No mail waits")
