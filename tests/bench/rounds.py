"""Measuring: round after round, in which what is compared takes turns."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import click

from tests.bench.load import Sample
from tests.bench.operations import Measure
from tests.bench.report import Row, medians


@dataclass(frozen=True)
class Cell:
    """One thing to measure; `database` and `users` say on what, `size` the bytes of an answer, where that is told."""

    database: str
    users: int
    operation: str
    subject: str
    connections: int
    measure: Measure
    size: int | None = None


def measured(cells: Sequence[Cell], rounds: int, seconds: float) -> list[Row]:
    """Measure each cell `rounds` times; the cells of an operation take turns."""
    rows = []
    with click.progressbar(length=len(cells) * (rounds + 1), label="measuring", file=sys.stderr) as bar:
        for _, group in groupby(cells, lambda cell: (cell.operation, cell.connections)):
            together = list(group)
            samples: dict[Cell, list[Sample]] = {cell: [] for cell in together}
            for number in range(rounds + 1):
                for cell in together:
                    if number:
                        samples[cell].append(cell.measure(cell.connections, seconds))
                    else:  # to warm up
                        cell.measure(min(cell.connections, 4), seconds / 5)
                    bar.update(1)
            rows += [_row(cell, samples[cell]) for cell in together]
    return rows


def _row(cell: Cell, samples: Sequence[Sample]) -> Row:
    rates = tuple(sample.requests_per_second for sample in samples)
    subject = (cell.database, cell.users, cell.operation, cell.subject, cell.connections)
    return Row(*subject, medians(samples), rates, cell.size)
