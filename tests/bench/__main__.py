"""The benchmark's command line."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from tests.bench import machine, report, yardsticks
from tests.bench.operations import OURS, TITLES, TUTORIAL_CONNECTIONS
from tests.bench.peers import comparison
from tests.bench.plan import Plan
from tests.bench.report import Row
from tests.bench.rounds import measured
from tests.bench.site import MAX_USERS, kind_of


def _words(_: click.Context, __: click.Parameter, value: Any) -> list[str]:
    texts = value if isinstance(value, tuple) else (value or "",)
    return [word for text in texts for word in text.split(",") if word]


def _counts(context: click.Context, parameter: click.Parameter, value: Any) -> list[int]:
    try:
        counts = sorted({int(word) for word in _words(context, parameter, value)})
    except ValueError:
        raise click.BadParameter("takes whole numbers, separated by commas") from None
    if counts and counts[0] < 1:
        raise click.BadParameter("takes numbers from 1")
    return counts


def _known(context: click.Context, parameter: click.Parameter, value: Any) -> list[str]:
    words = _words(context, parameter, value)
    if unknown := set(words) - {*TITLES, "start", "memory"}:
        raise click.BadParameter(f"knows no {', '.join(sorted(unknown))}")
    return words or [*TITLES, "start", "memory"]


@click.command(context_settings={"max_content_width": 120})
@click.option(
    "--database",
    "databases",
    multiple=True,
    default=["sqlite"],
    callback=_words,
    show_default="sqlite",
    help="sqlite, postgresql, mysql, or the URL of a server (or of a file in a folder) to make a database in; "
    "several by commas or by repeating the option.",
)
@click.option("--users", default=1000, show_default=True, type=click.IntRange(10, MAX_USERS), help="Users to fill in.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes of each server.")
@click.option("--connections", default=16, show_default=True, type=click.IntRange(1, 1024), help="Kept open at once.")
@click.option(
    "--duration",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.05, 600),
    help="Seconds of one measurement; wrk knows whole seconds only.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Measurements of each; the subjects take turns, the medians count.",
)
@click.option(
    "--operations",
    "wanted",
    callback=_known,
    metavar="NAMES",
    help=f"Which to measure, by commas, of: {', '.join([*TITLES, 'start', 'memory'])}. [default: all]",
)
@click.option("--bcrypt-rounds", default=12, show_default=True, type=click.IntRange(4, 15), help="bcrypt's cost.")
@click.option(
    "--sweep",
    is_flag=False,
    flag_value="1,16,64,256",
    callback=_counts,
    metavar="[NUMBERS]",
    help="Measure at each of these numbers of connections. [without numbers: 1,16,64,256]",
)
@click.option(
    "--scale",
    is_flag=False,
    flag_value="1000,100000,1000000",
    callback=_counts,
    metavar="[NUMBERS]",
    help="Measure at each of these numbers of users, with 1 connection, and tell how costs grow. "
    "[without numbers: 1000,100000,1000000]",
)
@click.option("--peers", is_flag=True, help="Compare with PocketBase, fastapi-users and the tutorial's app instead.")
@click.option("--no-wrk", is_flag=True, help="Use the bundled load generator even if there is wrk.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here.")
@click.option(
    "--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart here, as SVG."
)
def bench(
    databases: list[str],
    users: int,
    workers: int,
    connections: int,
    duration: float,
    rounds: int,
    wanted: list[str],
    bcrypt_rounds: int,
    sweep: list[int],
    scale: list[int],
    peers: bool,
    no_wrk: bool,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Measure the service as a user runs it, beside what it could at best be and what it replaces.

    Each database is the benchmark's own, filled with users, and dropped at the end. On it run, in turn and under the
    same load:

    \b
    userapi       python -m userapi serve
    tutorial      the same API as tutorials write it (tests/bench/tutorial_app.py), on the same data; over 5
                  connections, its pool's size: with more it is slower, and over 15 it can stop for 30 s at a time;
                  --sweep shows that
    constant      a FastAPI route that answers a constant of the same shape and size
    SQL alone     the statements that userapi runs, by the bare driver, on one connection
    bcrypt alone  password checks on all cores, without a service

    With --peers it runs beside these, on SQLite, each with the same users and the same bcrypt cost. They are installed
    for it in ~/.cache/userapi-tests, and each is measured in what it offers, bcrypt over at most 8 connections:

    \b
    PocketBase     its threads that run Go are as many as the others have --workers; its superuser lists and makes users
    fastapi-users  as its documentation sets it up: SQLAlchemy, aiosqlite, JWT
    tutorial       as above

    The ratios are userapi's throughput and CPU time as multiples of that line's. p50 and p99 are latencies. CPU us is
    the processor time of the server's processes (a database server's is not in it) for one request; it is what to
    compare when load generator and server share the cores. Errors are answers other than 2xx and 3xx, broken
    connections, and requests that a deadlocked server held; with any of userapi the exit code is 1. Operations that the
    service does not offer are left out.

    \b
    login, login4  POST /token of many accounts, with the usual bcrypt cost and with cost 4
    refresh        refresh tokens, each connection its own chain (always by the bundled load generator)
    me, read       one's own user, and others as an admin
    list10/100     the first page; deep: a page of 100 halfway, by cursor if there is one, else by number
    search         q=, by name
    create, create4  POST /users, with the usual bcrypt cost and with cost 4
    update         PUT of another age; with --peers each user changes oneself, by PATCH where there is one
    mixed          GET /users/me while as many connections log in
    start, memory  time to the first answer, and a worker's memory after the load

    Database servers are looked for where the tests do: USERAPI_TEST_POSTGRESQL, USERAPI_TEST_MYSQL.
    """
    if peers and (sweep or scale or {kind_of(database) for database in databases} != {"sqlite"}):
        raise click.UsageError("--peers compares on SQLite, without --sweep and --scale")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wrk = None if no_wrk else shutil.which("wrk")
    header = machine.describe() | {
        "load": _generator(wrk),
        "command": " ".join(["python -m tests.bench", *sys.argv[1:]]),
    }
    if not sweep:
        header["tutorial"] = f"over at most {TUTORIAL_CONNECTIONS} connections, its pool's size (see --help)"
    if peers:
        header["peers"] = comparison.versions()
    click.echo("\n".join(f"{name + ':':11}{value}" for name, value in header.items()))
    plan = Plan(users, workers, connections, rounds, wanted, bcrypt_rounds, sweep, scale, wrk)
    prepared, titles = (comparison.prepared, comparison.TITLES) if peers else (yardsticks.prepared, TITLES)
    rows: list[Row] = []
    processes: list[dict[str, Any]] = []
    for database in databases:
        with ExitStack() as stack:
            try:
                running = stack.enter_context(prepared(database, plan))
            except Exception as error:
                raise click.ClickException(f"cannot prepare {database}: {error}") from error
            rows += (found := measured(running.cells, rounds, duration))
            counts = ", ".join(f"{count:,}" for count in running.users)
            click.echo(f"\n{kind_of(database)}, {counts} users, {workers} worker(s)\n{running.table(found)}")
            processes += (of_servers := running.processes())
            click.echo(report.processes(of_servers), nl=False)
    results = {"header": header, "rows": [row.as_json() for row in rows], "processes": processes}
    if json_file:
        json_file.write_text(json.dumps(results, indent=1) + "\n")
    if plot_file and rows:
        plot_file.write_text(report.chart(rows, f"requests per second; {header['machine']}", titles))
    failed = [row for row in rows if row.sample.errors]
    if failed:
        click.echo("\nERRORS; figures of lines with errors mean little:", err=True)
    for row in failed:
        place = f"{row.database}, {row.users:,} users, {row.connections} connections"
        said = f"{row.sample.errors:,} of {row.subject}, {titles[row.operation]}, {place}"
        click.echo(f"{said}: {row.sample.example or 'no example'}", err=True)
    sys.exit(1 if any(row.subject == OURS for row in failed) else 0)


def _generator(wrk: str | None) -> str:
    if wrk is None:
        return "bundled load generator (asyncio), not wrk: it takes more of the processor, so throughput looks lower"
    first = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout.partition("\n")[0]
    return first.partition("Copyright")[0].strip()


if __name__ == "__main__":
    bench()
