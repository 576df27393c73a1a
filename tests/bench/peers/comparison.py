"""The service beside its peers: what is measured, and the tables of it, in Markdown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from tests.bench.operations import OURS
from tests.bench.peers.fastapi_users import fastapi_users
from tests.bench.peers.peer import HERE, Peer
from tests.bench.peers.pocketbase import pocketbase
from tests.bench.peers.same_api import tutorial, userapi
from tests.bench.plan import Plan, Prepared
from tests.bench.report import Row, number
from tests.bench.rounds import Cell
from tests.bench.site import filled_database

TITLES = {
    "me": "read oneself",
    "list10": "list 10",
    "list100": "list 100",
    "search": "search, 10",
    "update": "change oneself",
    "refresh": "renew a token",
    "login": "log in",
    "create": "make a user",
}


def versions() -> str:
    """Give what the peers are, as pinned."""
    pins = [(HERE / name).read_text().split() for name in ("pocketbase.txt", "fastapi_users.txt", "tutorial.txt")]
    return "; ".join(", ".join(pin.replace("==", " ") for pin in of_peer) for of_peer in pins)


@contextmanager
def prepared(database: str, plan: Plan) -> Iterator[Prepared]:
    """Fill a database of SQLite, start the service and all peers, each with the same users."""
    with ExitStack() as stack:
        filled = stack.enter_context(filled_database(database, plan.users, plan.bcrypt_rounds))
        starts = (userapi, pocketbase, fastapi_users, tutorial)
        peers = [stack.enter_context(start(filled, plan.workers)) for start in starts]
        yield Prepared([plan.users], _cells(peers, plan), tables)


def _cells(peers: Sequence[Peer], plan: Plan) -> list[Cell]:
    sizes = [peer.sizes() for peer in peers]
    return [
        Cell("sqlite", plan.users, name, peer.name, plan.connections, peer.measure(name, plan.wrk), of_peer[name])
        for name in TITLES
        for peer, of_peer in zip(peers, sizes, strict=True)
        if name in plan.wanted and name in peer.loads
    ]


def tables(rows: Sequence[Row]) -> str:
    """The tables, with a dash for what a peer does not offer."""
    ours = {row.operation: row for row in rows if row.subject == OURS}
    return "\n\n".join(
        [
            _table("requests/s: userapi's as multiple, lowest to highest", rows, lambda row: _rate(row, ours)),
            _table("p99 ms", rows, lambda row: number(row.sample.p99_ms)),
            _table("CPU us", rows, lambda row: number(row.sample.cpu_us)),
            _table("bytes of an answer", rows, lambda row: f"{row.size:,}"),
        ]
    )


def _rate(row: Row, ours: Mapping[str, Row]) -> str:
    said = number(row.sample.requests_per_second)
    if row.sample.errors:
        return f"{said}, {row.sample.errors:,} errors"
    if row.subject == OURS or not min(row.rates):
        return said
    times = [mine / theirs for mine, theirs in zip(ours[row.operation].rates, row.rates, strict=True)]
    return f"{said}: {median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def _table(title: str, rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    subjects = list(dict.fromkeys(row.subject for row in rows))
    said = {(row.operation, row.subject): cell(row) for row in rows}
    lines = [
        [TITLES[name], *(said.get((name, subject), "-") for subject in subjects)]
        for name in dict.fromkeys(row.operation for row in rows)
    ]
    head, *below = [f"| {' | '.join(line)} |" for line in [[title, *subjects], *lines]]
    return "\n".join([head, "|---" * (1 + len(subjects)) + "|", *below])
