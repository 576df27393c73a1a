"""What the command line asks for, and what is made ready for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.report import Row
from tests.bench.rounds import Cell


@dataclass(frozen=True)
class Plan:
    """What to measure; `wrk` is the path of the program, if it is to be used."""

    users: int
    workers: int
    connections: int
    rounds: int
    wanted: Sequence[str]
    bcrypt_rounds: int
    sweep: Sequence[int]
    scale: Sequence[int]
    wrk: str | None


@dataclass(frozen=True)
class Prepared:
    """What runs on a database: what to measure, the table of it, and what is told of each process."""

    users: Sequence[int]
    cells: Sequence[Cell]
    table: Callable[[Sequence[Row]], str]
    processes: Callable[[], list[dict[str, Any]]] = list
