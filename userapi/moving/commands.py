"""What commands share that take users over."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click


def _zone(_context: click.Context, _parameter: click.Parameter, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(f"there is no time zone {name!r}") from error


# The time zone, as `Europe/Berlin`, is the parameter `zone`.
timezone_option = click.option(
    "--timezone", "zone", default="UTC", show_default=True, callback=_zone, help="Of times without one."
)
