"""What a peer is: a subject that can be put under the loads of some operations."""

import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from tests.bench.load import Load, measure
from tests.bench.operations import Measure, at_most
from tests.bench.site import Filled, ask

HERE = Path(__file__).parent
ME = 20  # accounts that read and change themselves
HASHING = 8  # connections that keep all cores at bcrypt; with more, each only waits longer


@dataclass(frozen=True)
class Peer:
    """A running subject with its load for each operation that it offers; `most` bounds its connections."""

    name: str
    loads: Mapping[str, Load]
    most: int = sys.maxsize

    def measure(self, operation: str, wrk: str | None) -> Measure:
        """Give what measures an operation; `wrk` is the path of the program, if it is to be used."""
        load = self.loads[operation]
        most = min(self.most, HASHING) if load.slow else self.most
        return at_most(most, partial(measure, load, wrk))

    def sizes(self) -> dict[str, int]:
        """Do each operation once; give the bytes of the answers' bodies.

        Raises: RuntimeError, if an answer is none of success.
        """
        first = {name: next(load.chain()) if load.chain else load.requests[0] for name, load in self.loads.items()}
        return {
            name: len(ask(self.loads[name].server, request.varied(f"1st_{name}", 0)).content)
            for name, request in first.items()
        }


class Person(NamedTuple):
    """A user as all subjects have it."""

    username: str
    email: str
    hashed_password: str
    age: int
    is_admin: bool


def people(filled: Filled) -> list[Person]:
    """Give all users, in the order of their numbers."""
    connection = sqlite3.connect(database_file(filled))
    try:
        query = f"SELECT {', '.join(Person._fields)} FROM tutorial_users ORDER BY id"
        return [Person(*row) for row in connection.execute(query)]
    finally:
        connection.close()


def database_file(filled: Filled) -> Path:
    """The file of the users' database; what peers write goes beside it, so that all wait for the same disk."""
    return Path(sa.make_url(filled.url).database or "")
