"""How SQLite is set up, and its one reading connection."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvloop
from sqlmodel import Session

from tests.support.faults import Counted
from tests.support.insides import ApiError, Database, DatabaseUnavailable, ErrorCode


class TestSQLiteDurability:
    @pytest.mark.parametrize("unit", ["read", "write"])
    def test_what_is_committed_outlives_a_power_cut(self, tmp_path: Path, unit: str) -> None:
        """R7: `synchronous=NORMAL` would sync a write-ahead log at checkpoints only."""

        def pragmas(session: Session | sa.Connection) -> list[Any]:
            connection = session if isinstance(session, sa.Connection) else session.connection()
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

        async def run() -> list[Any]:
            database = Database(f"sqlite:///{tmp_path / 'users.db'}")
            try:
                return await (database.read(pragmas) if unit == "read" else database.write(pragmas))
            finally:
                await database.close()

        assert asyncio.run(run()) == ["wal", 2, 1]


class TestSQLiteConnection:
    """All reads are made on one connection: what happens to one of them is of no consequence to the next."""

    @pytest.mark.parametrize("fault", ["refusal", "bad SQL", "half read", "closed"])
    def test_a_read_that_fails_is_the_only_one(self, tmp_path: Path, fault: str) -> None:
        """R6."""

        def value(connection: sa.Connection) -> Any:
            return connection.execute(sa.text("SELECT value FROM numbers WHERE value < 2")).scalar_one()

        def fail(connection: sa.Connection, run: int) -> Any:
            if fault == "refusal":
                raise ApiError(ErrorCode.USER_NOT_FOUND)
            if fault == "bad SQL":
                connection.execute(sa.text("SELECT nothing"))
            if fault == "half read":
                raise ValueError(connection.execute(sa.text("SELECT value FROM numbers")).fetchone())
            if run == 1:
                connection.connection.driver_connection.close()  # type: ignore[union-attr]  # it has one
            return value(connection)

        async def run() -> None:
            path = tmp_path / "numbers.db"
            database = Database(f"sqlite:///{path}")
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("CREATE TABLE numbers AS SELECT 1 AS value UNION SELECT 2 UNION SELECT 3")
                try:
                    assert await database.read(value) == 1
                    failing = Counted(fail)
                    if fault == "closed":
                        assert (await database.read(failing), failing.runs) == (1, 2)
                    else:
                        with pytest.raises((ApiError, sa.exc.OperationalError, DatabaseUnavailable, ValueError)):
                            await database.read(failing)
                    other.execute("UPDATE numbers SET value = 0 WHERE value = 1")
                    assert await database.read(value) == 0
                finally:
                    await database.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
