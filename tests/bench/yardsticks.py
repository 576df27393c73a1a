"""The service beside what it could at best be and what it replaces."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any

from tests.bench import machine, report
from tests.bench.operations import CONSTANT, OURS, TITLES, TUTORIAL, TUTORIAL_CONNECTIONS, operations
from tests.bench.plan import Plan, Prepared
from tests.bench.rounds import Cell
from tests.bench.site import Site, filled_database, site


@contextmanager
def prepared(database: str, plan: Plan) -> Iterator[Prepared]:
    """Fill databases and start the servers on them."""
    alone = not (plan.sweep or plan.scale)
    with ExitStack() as stack:
        sites = []
        for users in plan.scale or [plan.users]:
            filled = stack.enter_context(filled_database(database, users, plan.bcrypt_rounds))
            sites.append(stack.enter_context(site(filled, plan.workers)))
        yield Prepared(
            [each.filled.users for each in sites],
            _cells(sites, plan, alone=alone),
            report.scaled if plan.scale else report.compared,
            partial(_processes, sites[0], plan) if alone else list,
        )


def _cells(sites: Sequence[Site], plan: Plan, *, alone: bool) -> list[Cell]:
    """What is to be measured: of all subjects, if the numbers of connections and users are `alone`."""
    most = TUTORIAL_CONNECTIONS if alone else None
    offered = [operations(each, plan.wrk, plan.wanted, most) for each in sites]
    return [
        Cell(each.filled.database, each.filled.users, name, subject, count, measure)
        for name in TITLES
        for count in plan.sweep or [1 if plan.scale else plan.connections]
        for each, measures in zip(sites, offered, strict=True)
        for subject, measure in measures.get(name, {}).items()
        if alone or subject in {OURS, TUTORIAL}
    ]


def _processes(of: Site, plan: Plan) -> list[dict[str, Any]]:
    """Time to the first answer, and memory, of each kind of server."""
    servers = {OURS: of.ours, TUTORIAL: of.tutorial, CONSTANT: of.constant}
    starts: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(plan.rounds if "start" in plan.wanted else 0):
        for name, server in servers.items():
            starts[name].append(server.start_seconds())
    return [
        {
            "database": of.filled.database,
            "subject": name,
            "start_ms": median(starts[name]) * 1e3 if starts[name] else None,
            "memory_mib": machine.memory(server.pid) if "memory" in plan.wanted else None,
        }
        for name, server in servers.items()
    ]
