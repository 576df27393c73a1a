"""Plays attacks against a running service and tells what held: `python -m tests.attack --help`."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import click

from tests.attack import accounts, connections, floods, fuzz
from tests.attack.arena import Arena, Person, Verdict

Play = Callable[[Arena], Iterator[Verdict]]
TOGETHER: dict[int, Play] = {  # these wait more than they compute
    1: accounts.current_passwords,
    2: accounts.old_sessions,
    4: accounts.copied_keys,
    5: accounts.refresh_tokens,
    9: floods.lockout,
    11: connections.connections,
}
ALONE: dict[int, Play] = {7: floods.fair_shares, 10: floods.names}  # these measure time


def _loopback(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and urlsplit(value).hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise click.BadParameter("attack nobody but a service on this machine")
    return value


def _numbers(_: click.Context, __: click.Parameter, value: str) -> set[int]:
    try:
        chosen = {int(part) for part in value.split(",")}
    except ValueError:
        chosen = {0}
    if unknown := chosen - TOGETHER.keys() - ALONE.keys():
        raise click.BadParameter(f"there is no {min(unknown)}")
    return chosen


@click.command()
@click.option(
    "--url", callback=_loopback, help="Attack this service in place of private ones; it trusts 127.0.0.1 as its proxy."
)
@click.option("--admin", default="admin", show_default=True, help="Username of an admin of that service.")
@click.option("--password", envvar="USERAPI_ATTACK_PASSWORD", help="Its password; asked for if absent.")
@click.option("--quick", is_flag=True, help="Shorter floods, no wait for idle connections: within a minute.")
@click.option(
    "--items",
    default=",".join(map(str, sorted(TOGETHER | ALONE))),
    show_default=True,
    callback=_numbers,
    help="Which to play.",
)
@click.option("--names", type=click.IntRange(1000), help="Names of 10, 500 a second.  [default: 30000; 4000 if quick]")
@click.option(
    "--fuzz", "fuzzing", is_flag=True, help=f"Send {fuzz.REQUESTS:,} odd requests instead, to a private service."
)
@click.option("--seed", default=1, show_default=True, help="Which odd requests.")
def attack(
    url: str | None,
    admin: str,
    password: str | None,
    quick: bool,
    items: set[int],
    names: int | None,
    fuzzing: bool,
    seed: int,
) -> None:
    """Play attacks against a service, and print a line for each thing tried; the exit code is 1 if any did not hold.

    Without --url they start services of their own on new SQLite databases. What needs the database or a second
    process is skipped with --url. All goes over the loopback, bounded in number and time.

    \b
    1   guesses of one's current password        7   floods of logins and registrations
    2   changes by a stolen token                9   strangers who would lock somebody out
    4   tokens on another database, same key     10  names without end
    5   copied refresh tokens, lost answers      11  pipelines, half-open and slow connections, odd bodies
    """
    if fuzzing:
        verdict = fuzz.private(Arena(), seed)
        click.echo(verdict)
        sys.exit(0 if verdict.held else 1)
    arena = Arena(quick, names or (4_000 if quick else 30_000), _running(url, admin, password) if url else None)
    failed = 0
    with ThreadPoolExecutor(len(TOGETHER) if arena.private else 1) as pool:
        playing = [pool.submit(_played, play, item, arena) for item, play in TOGETHER.items() if item in items]
        failed += sum(future.result() for future in playing)
    failed += sum(_played(play, item, arena) for item, play in ALONE.items() if item in items)
    sys.exit(1 if failed else 0)


def _running(url: str, admin: str, password: str | None) -> tuple[str, Person]:
    password = password or click.prompt("Password", hide_input=True)
    return url, Person(1, admin, admin, password)


def _played(play: Play, item: int, arena: Arena) -> int:
    """Play one attack, telling as it goes; return how much failed."""
    failed = 0
    try:
        for verdict in play(arena):
            click.echo(str(verdict))
            failed += verdict.held is False
    except Exception as error:  # noqa: BLE001  # whatever stops one attack, the others go on
        click.echo(str(Verdict(item, False, f"broke off: {error!r}"[:500])))
        failed += 1
    return failed


if __name__ == "__main__":
    attack()
