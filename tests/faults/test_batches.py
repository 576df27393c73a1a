"""Changes of an SQLite file that wait together share a transaction and its commit, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from tests.support.insides import ApiError, Database, ErrorCode
from tests.support.statements import failing_at

MANY = 20


def add(db: Session, number: int) -> int:
    """A unit: it adds a number, and returns how many there are."""
    db.connection().execute(sa.text("INSERT INTO numbers VALUES (:number)"), {"number": number})
    return int(db.connection().execute(sa.text("SELECT count(*) FROM numbers")).scalar_one())


def numbers(connection: sa.Connection) -> set[int]:
    return set(connection.execute(sa.text("SELECT value FROM numbers")).scalars())


def on_file(folder: Path, work: Callable[[Database, list[str]], Awaitable[None]]) -> None:
    """Run `work` with a database that has a table of numbers, and the statements that end its transactions."""

    async def run() -> None:
        database = Database(f"sqlite:///{folder / 'numbers.db'}")
        ends: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            if statement in {"COMMIT", "ROLLBACK"}:
                ends.append(statement)

        try:
            await database.write(
                lambda db: db.connection().execute(sa.text("CREATE TABLE numbers (value PRIMARY KEY)"))
            )
            sa.event.listen(database.engines["write"], "before_cursor_execute", note)
            await work(database, ends)
        finally:
            await database.close()

    asyncio.run(run())


async def all_of(units: list[Any]) -> list[Any]:
    return await asyncio.gather(*units, return_exceptions=True)


class TestBatch:
    def test_has_one_commit_for_those_that_wait(self, tmp_path: Path) -> None:
        """R7: the disk is waited for once."""

        async def work(database: Database, ends: list[str]) -> None:
            counts = await all_of([database.write(add, number) for number in range(MANY)])
            assert counts == list(range(1, MANY + 1))
            assert ends == ["COMMIT"]
            assert await database.read(numbers) == set(range(MANY))

        on_file(tmp_path, work)

    def test_loses_a_unit_that_fails_and_no_other(self, tmp_path: Path) -> None:
        """R11."""

        def fail(db: Session, number: int) -> None:
            add(db, number)
            raise ApiError(ErrorCode.USER_NOT_FOUND)

        async def work(database: Database, ends: list[str]) -> None:
            units = [database.write(fail if number % 3 else add, number) for number in range(MANY)]
            found = await all_of(units)
            assert [isinstance(one, ApiError) for one in found] == [bool(number % 3) for number in range(MANY)]
            assert await database.read(numbers) == set(range(0, MANY, 3))
            assert ends == ["COMMIT"]

        on_file(tmp_path, work)

    @pytest.mark.parametrize("fault", ["commit", "transaction"])
    def test_that_fails_fails_all(self, tmp_path: Path, fault: str) -> None:
        """R7: nobody is told that something is done which is not; and what comes then is done."""

        def defer(db: Session) -> None:
            """Add what no row is there for, which is found out by the commit."""
            db.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            db.connection().execute(sa.text("INSERT INTO others VALUES (-1)"))

        def give_up(db: Session) -> None:
            """Have SQLite roll the whole transaction back, as it does when the disk is full."""
            db.connection().execute(sa.text("INSERT OR ROLLBACK INTO numbers VALUES (0)"))

        async def work(database: Database, ends: list[str]) -> None:
            refers = "CREATE TABLE others (value REFERENCES numbers)"
            await database.write(lambda db: db.connection().execute(sa.text(refers)))
            before = [database.write(add, number) for number in range(5)]
            found = await all_of([*before, database.write(defer if fault == "commit" else give_up)])
            assert [type(one) for one in found] == [IntegrityError] * 6
            assert await database.read(numbers) == set()
            assert await all_of([database.write(add, number) for number in range(5)]) == [1, 2, 3, 4, 5]
            assert await database.read(numbers) == set(range(5))

        on_file(tmp_path, work)

    def test_that_is_interrupted_is_not_done_and_holds_up_nobody(self, tmp_path: Path) -> None:
        """R8: as by Ctrl-C in the middle of a statement, after which SQLAlchemy closes the connection."""

        async def work(database: Database, ends: list[str]) -> None:
            for start in ("BEGIN", "INSERT"):
                with failing_at(start), pytest.raises(KeyboardInterrupt):
                    await database.write(add, 1)
                assert await database.write(add, 2) == 1
                assert (
                    await database.write(lambda db: db.connection().execute(sa.text("DELETE FROM numbers")).rowcount)
                    == 1
                )

        on_file(tmp_path, work)

    def test_shows_nothing_before_it_is_committed(self, tmp_path: Path) -> None:
        """R7."""

        async def work(database: Database, ends: list[str]) -> None:
            seen: list[set[int]] = []

            def look(db: Session) -> None:
                with database.engines["read"].connect() as connection:
                    seen.append(numbers(connection))

            await all_of([database.write(add, 1), database.write(look)])
            assert seen == [set()]
            assert await database.read(numbers) == {1}

        on_file(tmp_path, work)

    def test_goes_on_without_those_who_wait_no_more(self, tmp_path: Path) -> None:
        """R8."""

        async def work(database: Database, ends: list[str]) -> None:
            tasks = [asyncio.create_task(database.write(add, number)) for number in range(MANY)]
            await asyncio.sleep(0)  # all are in line
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks)
            assert {number for number, task in enumerate(tasks) if not task.cancelled()} == set(range(1, MANY, 2))
            assert await database.read(numbers) >= set(range(1, MANY, 2))
            assert await database.write(add, MANY) > MANY / 2

        on_file(tmp_path, work)
