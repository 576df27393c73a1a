"""Reads that go through many rows: nobody else waits for them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import pytest
import sqlalchemy as sa
import uvloop
from sqlalchemy.util import await_only

from tests.bench.site import fill
from tests.support.crowd import Call, Watch, at_once
from tests.support.databases import new_database, sync_engine
from tests.support.insides import Database, DatabaseUnavailable, EventQuery, ListQuery, reads, server
from tests.support.people import PASSWORD
from tests.support.schema import migrate
from tests.support.servers import serving

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) SELECT count(*) FROM n"
MANY = 1_000_000  # which takes SQLite some 0.1 s to count
ENDLESS = 10**15
USERS = 200_000
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def counted(connection: sa.Connection, many: int, threads: list[int] | None = None) -> int:
    """How many rows there are, one by one; `threads` is told who counts."""
    if threads is not None:
        threads.append(threading.get_ident())
    return int(connection.execute(sa.text(COUNT), {"many": many}).scalar_one())


def one(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text("SELECT 1")).scalar_one())


def run(url: str, work: Callable[[Database], Any]) -> Any:
    """What `work` returns of a database that is opened for it."""

    async def opened() -> Any:
        database = Database(url)
        try:
            return await work(database)
        finally:
            await database.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop it has in service
        return runner.run(opened())


class TestOnSQLite:
    """R22: what a read holds the event loop for is bounded, whatever it reads."""

    @pytest.fixture
    def file(self) -> Iterator[str]:
        with new_database("sqlite") as url:
            yield url

    def test_read_that_turns_out_long_is_done_again_on_a_thread(self, file: str) -> None:
        threads: list[int] = []

        async def work(database: Database) -> Any:
            found = await database.read(counted, MANY, threads)
            return found, database.tally["long"], await database.read(one)

        assert run(file, work) == (MANY, 1, 1)
        here, there = threads
        assert here == threading.get_ident() != there

    def test_short_ones_are_answered_meanwhile(self, file: str) -> None:
        """R22: the long one does not end before they are."""
        go_on = threading.Event()

        def long(connection: sa.Connection) -> int:
            assert one(connection) == 1
            assert go_on.wait(60)
            return counted(connection, MANY)

        async def work(database: Database) -> int:
            waiting = asyncio.ensure_future(database.read_long(long))
            for _ in range(1000):
                assert await database.read(one) == 1
            go_on.set()
            return await waiting

        assert run(file, work) == MANY

    def test_one_without_end_is_given_up(self, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reads, "LONG_SECONDS", 0.3)

        async def work(database: Database) -> int:
            with pytest.raises(DatabaseUnavailable):
                await database.read(counted, ENDLESS)
            monkeypatch.undo()
            return await database.read_long(counted, MANY // 10)

        assert run(file, work) == MANY // 10

    def test_one_that_nobody_waits_for_any_more_ends(self, file: str) -> None:
        begun = threading.Event()

        def endless(connection: sa.Connection) -> int:
            begun.set()
            return counted(connection, ENDLESS)

        async def work(database: Database) -> int:
            waiting = asyncio.ensure_future(database.read_long(endless))
            assert await asyncio.to_thread(begun.wait, 60)
            waiting.cancel()
            return await database.read_long(counted, 1)

        assert run(file, work) == 1

    def test_it_can_change_nothing(self, file: str) -> None:
        def write(connection: sa.Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE numbers (value INTEGER)")

        with pytest.raises(DatabaseUnavailable):
            run(file, lambda database: database.read_long(write))

    def test_in_memory_it_takes_the_time_it_takes(self) -> None:
        assert run("sqlite://", lambda database: database.read(counted, MANY)) == MANY
        assert run("sqlite://", lambda database: database.read_long(counted, MANY)) == MANY


class TestQueries:
    """R22: those that one index answers are not held up by those that may go through everything."""

    @pytest.mark.parametrize(
        ("query", "long"),
        [
            (ListQuery(), False),
            (ListQuery(q="a", page_size=100), False),
            (ListQuery(is_active=False), False),
            (ListQuery(sort="-email"), False),
            (ListQuery(page=501), False),
            (ListQuery(page=502), True),
            (ListQuery(total=True), True),
            (ListQuery(q="a", sort="id"), True),
            (ListQuery(q="a", is_active=False), True),
            (ListQuery(is_admin=False, is_active=False), True),
            (EventQuery(), False),
            (EventQuery(user_id=1), False),
            (EventQuery(name="user_created", actor_id="operator"), True),
        ],
        ids=str,
    )
    def test_are_known(self, query: ListQuery | EventQuery, long: bool) -> None:
        assert query.may_be_long is long


@pytest.mark.alone
class TestService:
    def test_totals_hold_nobody_up(self) -> None:
        """R22."""
        with new_database("sqlite") as url:
            migrate(url)
            engine = sync_engine(url)
            fill(engine, USERS, HASH, HASH)
            engine.dispose()
            with serving(url) as server, server.client() as http:
                token = http.post("/token", data={"username": "user0", "password": PASSWORD}).json()["access_token"]
                with Watch(server, "/users/me", token) as reads:
                    replies = at_once(server, [Call("GET", "/users?q=user&total=true", token)] * 10)
        assert [reply.status for reply in replies] == [200] * 10
        assert [reply.headers["x-total-count"] for reply in replies] == [str(USERS)] * 10
        reads.assert_answered_within(0.5)
        assert sorted(reads.seconds)[len(reads.seconds) // 2] < 0.05


class TestTurns:
    def test_long_ones_leave_connections_to_the_others(
        self, empty_url: str, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """R22: of ten that are asked for at once few run at a time."""
        monkeypatch.setattr(server, "POOL_SECONDS", 60)
        url = empty_url + "?timeout=60" if kind == "sqlite" else empty_url
        running = most = 0
        go_on = asyncio.Event()
        from_thread = threading.Event()

        def long(connection: sa.Connection) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if kind == "sqlite":
                assert from_thread.wait(60)
            else:
                await_only(go_on.wait())
            running -= 1
            return one(connection)

        async def work(database: Database) -> list[int]:
            waiting = [asyncio.ensure_future(database.read_long(long)) for _ in range(10)]
            for _ in range(100):
                assert await database.read(one) == 1
            go_on.set()
            from_thread.set()
            return await asyncio.gather(*waiting)

        assert run(url, work) == [1] * 10
        assert most == (1 if kind == "sqlite" else server.LONG_READS)

    def test_one_that_waits_too_long_for_its_turn_is_refused(
        self, empty_url: str, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """R22."""
        monkeypatch.setattr(server, "POOL_SECONDS", 0.2)
        url = sa.make_url(empty_url)
        url = url.update_query_dict({"timeout": "0.2"}) if kind == "sqlite" else url
        go_on = asyncio.Event()
        from_thread = threading.Event()

        def long(connection: sa.Connection) -> int:
            if kind == "sqlite":
                assert from_thread.wait(60)
            else:
                await_only(go_on.wait())
            return one(connection)

        async def work(database: Database) -> list[Any]:
            waiting = [asyncio.ensure_future(database.read_long(long)) for _ in range(3)]
            with pytest.raises(DatabaseUnavailable):
                await waiting[2]
            go_on.set()
            from_thread.set()
            return await asyncio.gather(*waiting, return_exceptions=True)

        found = run(url.render_as_string(hide_password=False), work)
        assert found[0] == 1
        assert isinstance(found[2], DatabaseUnavailable)
