"""What `Database` does about a unit of work that failed."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
import uvloop
from sqlmodel import Session

from tests.support.databases import new_database, sync_engine
from tests.support.faults import Counted
from tests.support.insides import Database, DatabaseUnavailable, server
from tests.support.private_databases import PrivateServer
from tests.support.processes import wait_until
from tests.support.proxy import Proxy


@pytest.mark.slow
class TestUnitsOfWork:
    """R6, R11: what `Database` does about a unit that failed."""

    @pytest.fixture
    def counters(self, private_server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
        """A database with a table of two counters at 0; units have all the time they need."""
        monkeypatch.setattr(server, "UNIT_SECONDS", 60)
        with new_database(private_server.kind, private_server.url) as url:
            engine = sync_engine(url, poolclass=sa.NullPool)
            with engine.begin() as connection:
                connection.execute(sa.text("CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)"))
                connection.execute(sa.text("INSERT INTO counters VALUES (1, 0), (2, 0)"))
            yield engine

    @pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
    def test_a_connection_lost_before_the_commit_is_replaced_once(self, counters: sa.Engine, write: bool) -> None:
        """R6."""
        work = self._losing(counters, 1, write)
        assert self._run(counters, work, write) == 0
        assert work.runs == 2
        assert self._values(counters) == [10 if write else 0, 0]

    @pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
    def test_a_connection_lost_again_is_given_up(self, counters: sa.Engine, write: bool) -> None:
        """R6."""
        work = self._losing(counters, 9, write)
        with pytest.raises(DatabaseUnavailable):
            self._run(counters, work, write)
        assert work.runs == 2
        assert self._values(counters) == [0, 0]

    @pytest.mark.parametrize("cut", ["before", "after"])
    def test_a_connection_lost_during_the_commit_is_not_tried_again(
        self, counters: sa.Engine, private_server: PrivateServer, cut: str
    ) -> None:
        """R6."""
        with closing(Proxy(private_server.port)) as proxy:

            def work(session: Session, run: int) -> None:
                _add(session, 1, 10)
                proxy.cut_commit(cut)

            counted = Counted(work)
            with pytest.raises(DatabaseUnavailable):
                self._run(counters, counted, True, port=proxy.port)
        assert counted.runs == 1
        assert self._values(counters) == [10 if cut == "after" else 0, 0]

    def test_of_many_that_want_a_connection_the_first_is_served_first(self, counters: sa.Engine) -> None:
        """R9: none waits for a connection while those who have had one get the next, too."""
        served = [0] * 30

        async def client(database: Database, number: int) -> None:
            while max(served) < 50:
                await database.read(lambda connection: connection.execute(sa.text("SELECT 1")).all())
                served[number] += 1

        async def run() -> None:
            database = Database(counters.url)
            try:
                await asyncio.gather(*(database.read(lambda _: None) for _ in range(10)))  # which makes connections
                await asyncio.gather(*(client(database, number) for number in range(len(served))))
            finally:
                await database.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        assert min(served) >= 25, served

    @pytest.mark.parametrize("times", [1, 8, 9])
    def test_the_loser_of_a_deadlock_runs_again_eight_times(self, counters: sa.Engine, times: int) -> None:
        """R11."""

        def work(session: Session, run: int) -> None:
            if run > times:
                _add(session, 1, 10)
                _add(session, 2, 10)
                return
            _add(session, 1, 10)
            with _stronger(counters, locks=2, then_waits_for=1):
                _add(session, 2, 10)

        self._assert_reruns(counters, Counted(work), times)

    @pytest.mark.parametrize("times", [1, 8, 9])
    def test_a_unit_that_cannot_be_serialized_runs_again_eight_times(self, counters: sa.Engine, times: int) -> None:
        """R11."""
        if counters.dialect.name == "mysql":
            with counters.connect() as connection:
                if not connection.execute(sa.text("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")).all():
                    pytest.skip("this server lets a snapshot be written over")

        def work(session: Session, run: int) -> None:
            if run <= times:
                if counters.dialect.name == "mysql":
                    session.execute(sa.text("SET SESSION innodb_snapshot_isolation = ON"))
                session.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                session.execute(sa.text("SELECT * FROM counters")).all()
                with counters.begin() as other:
                    other.execute(sa.text("UPDATE counters SET value = value + 1 WHERE id = 1"))
                    other.execute(sa.text("UPDATE counters SET value = value - 1 WHERE id = 1"))
            _add(session, 1, 10)
            _add(session, 2, 10)

        self._assert_reruns(counters, Counted(work), times)

    def _assert_reruns(self, counters: sa.Engine, work: "Counted", times: int) -> None:
        """It succeeds after as many failures as there are second tries, and is unavailable after one more."""
        if times <= 8:
            self._run(counters, work, True)
        else:
            with pytest.raises(DatabaseUnavailable):
                self._run(counters, work, True)
        assert work.runs == min(times, 8) + 1
        assert self._values(counters) == ([10, 10] if times <= 8 else [0, 0])

    @staticmethod
    def _losing(counters: sa.Engine, times: int, write: bool) -> "Counted":
        """A unit whose connection is ended by another one, so many times."""

        def work(session: Session, run: int) -> Any:
            if run <= times:
                _end_connection(counters, session)
            found = session.execute(sa.text("SELECT value FROM counters WHERE id = 1")).scalar_one()
            if write:
                _add(session, 1, 10)
            return found

        return Counted(work)

    @staticmethod
    def _run(counters: sa.Engine, work: "Counted", write: bool, **address: Any) -> Any:
        async def run() -> Any:
            database = Database(counters.url.set(drivername=counters.dialect.name, **address))
            try:
                return await (database.write(work) if write else database.read(work))
            finally:
                await database.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop it has in service
            return runner.run(run())

    @staticmethod
    def _values(counters: sa.Engine) -> list[int]:
        with counters.connect() as connection:
            return list(connection.execute(sa.text("SELECT value FROM counters ORDER BY id")).scalars())


def _add(session: Session, number: int, amount: int) -> None:
    statement = sa.text("UPDATE counters SET value = value + :amount WHERE id = :id")
    session.execute(statement, {"amount": amount, "id": number})


def _end_connection(engine: sa.Engine, session: Session) -> None:
    if engine.dialect.name == "postgresql":
        own, end, there = "pg_backend_pid()", "SELECT pg_terminate_backend(:id)", "pg_stat_activity WHERE pid = :id"
    else:
        own, end, there = "CONNECTION_ID()", "KILL :id", "information_schema.processlist WHERE id = :id"
    number = session.execute(sa.text(f"SELECT {own}")).scalar_one()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(end), {"id": number})
        wait_until(lambda: not connection.execute(sa.text(f"SELECT 1 FROM {there}"), {"id": number}).all())


@contextmanager
def _stronger(engine: sa.Engine, *, locks: int, then_waits_for: int) -> Iterator[None]:
    """Another transaction holds one row and waits for another; a deadlock's victim will not be this one."""
    if engine.dialect.name == "postgresql":  # whoever looks for a deadlock first gives way
        favour = "SET deadlock_timeout = '1min'"
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
    else:  # whoever has changed less gives way
        favour = "INSERT INTO counters SELECT seq, 0 FROM seq_100_to_999"
        waits = "variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS' AND variable_value > 0"
        waiting = f"SELECT 1 FROM information_schema.global_status WHERE {waits}"
    touch = sa.text("UPDATE counters SET value = value + 1 WHERE id = :id")
    with engine.connect() as connection, engine.connect() as observer:
        connection.execute(sa.text(favour))
        connection.execute(touch, {"id": locks})
        waiter = threading.Thread(target=lambda: connection.execute(touch, {"id": then_waits_for}))
        waiter.start()
        try:
            wait_until(lambda: observer.execute(sa.text(waiting)).all())
            yield
        finally:
            waiter.join()
            connection.rollback()
