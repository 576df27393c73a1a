"""Equal reads that many ask for at the same moment: on a server those who wait share one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.support.insides import Database

MANY = 40
ON_SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mysql"], indirect=True, scope="session")


class Reads:
    """A unit that tells how often it ran."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.begun = asyncio.Event()

    def __call__(self, connection: Connection, asked: int) -> int:
        self.runs.append(asked)
        self.begun.set()
        connection.execute(text("SELECT count(*) FROM users"))
        if asked < 0:
            raise ValueError(asked)
        return asked


def on(url: str, use: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        database = Database(url)
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())


class TestSharedReads:
    def test_equal_ones_run_as_one_and_others_do_not(self, url: str, kind: str) -> None:
        reads = Reads()

        async def use(database: Database) -> list[int]:
            asked = [1, 2] * MANY
            found = await asyncio.gather(*(database.read_shared(reads, number) for number in asked))
            assert database.tally["read"] == len(reads.runs)  # as an operator would count them
            return found

        assert on(url, use) == [1, 2] * MANY
        assert sorted(reads.runs) == (sorted([1, 2] * MANY) if kind == "sqlite" else [1, 2])

    def test_what_one_raises_all_are_told(self, url: str) -> None:
        async def use(database: Database) -> list[Any]:
            reads = (database.read_shared(Reads(), -1), database.read_shared(Reads(), 1))
            same = Reads()
            more = [database.read_shared(same, -7) for _ in range(8)]
            return await asyncio.gather(*reads, *more, return_exceptions=True)

        first, second, *others = on(url, use)
        assert (repr(first), second) == ("ValueError(-1)", 1)
        assert [repr(one) for one in others] == ["ValueError(-7)"] * 8

    @ON_SERVERS
    def test_who_comes_after_it_has_begun_has_one_of_its_own(self, url: str) -> None:
        """S2: so each sees what was committed before it asked."""
        reads = Reads()

        async def use(database: Database) -> None:
            first = asyncio.create_task(database.read_shared(reads, 1))
            await reads.begun.wait()
            await asyncio.gather(first, database.read_shared(reads, 1))

        on(url, use)
        assert reads.runs == [1, 1]

    @ON_SERVERS
    def test_who_waited_is_served_though_others_have_gone(self, url: str) -> None:
        """R8."""
        reads = Reads()

        async def use(database: Database) -> list[int]:
            waiting = [asyncio.create_task(database.read_shared(reads, 1)) for _ in range(8)]
            await asyncio.sleep(0)  # they have joined
            waiting[0].cancel()
            return await asyncio.gather(*waiting[1:])

        assert on(url, use) == [1] * 7
        assert reads.runs == [1]
