"""Faults made for real: databases that crash, stop, freeze, lock and fill up; processes that are killed."""

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import uvloop
from sqlmodel import Session

from tests.private_servers import PrivateServer, Proxy
from tests.service import (
    ADMIN_PASSWORD,
    PASSWORD,
    Api,
    Call,
    Crowd,
    Reply,
    Server,
    Watch,
    at_once,
    bearer,
    new_database,
    serving,
    sqlite_path,
    sync_engine,
    wait_until,
)
from userapi.database import Database
from userapi.errors import ApiError, DatabaseUnavailable, ErrorCode

LOGIN = Call("POST", "/token", form={"username": "admin", "password": ADMIN_PASSWORD})


def creation(api: Api, username: str) -> Call:
    body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
    return Call("POST", "/users", api.admin.token, json=body)


def one_of_each(api: Api, username: str) -> list[Call]:
    """A read, a list, a change, a creation and a login."""
    change = Call("PUT", api.admin.path, api.admin.token, json={"age": 1 + len(username)})
    reads = [Call("GET", "/users/me", api.admin.token), Call("GET", "/users", api.admin.token)]
    return [*reads, change, creation(api, username), LOGIN]


def assert_works(api: Api, username: str) -> None:
    replies = at_once(api.server, one_of_each(api, username))
    assert [reply.status for reply in replies] == [200, 200, 200, 201, 200], replies


def assert_unavailable(replies: list[Reply]) -> None:
    for reply in replies:
        assert (reply.status, reply.body["code"]) == (503, "database_unavailable"), reply
        assert int(reply.headers["retry-after"]) > 0


def timed(work: Callable[[], list[Reply]]) -> tuple[list[Reply], float]:
    begun = time.monotonic()
    return work(), time.monotonic() - begun


class TestLostConnections:
    """R1: connections that died unnoticed in the pool."""

    def test_the_next_requests_after_a_crash_of_the_database_succeed(
        self, private_api: Api, private_server: PrivateServer
    ) -> None:
        """R1."""
        kinds = len(one_of_each(private_api, "x"))
        for number in range(kinds):
            self._fill_pools(private_api, f"before{number}")
            private_server.crash()
            private_server.start()
            # Each kind of request is the first once; then come more than one, to find what is left of the pools.
            (reply,) = at_once(private_api.server, [one_of_each(private_api, f"first{number}")[number]])
            assert reply.status in {200, 201}, (number, reply)
            for again in range(3):
                assert_works(private_api, f"after{number}_{again}")

    def test_connections_that_idled_too_long_are_replaced(
        self, private_api: Api, private_server: PrivateServer
    ) -> None:
        """R1."""
        if private_server.kind != "mysql":
            pytest.skip("only MySQL and MariaDB close idle connections by default")
        engine = sync_engine(private_server.url, poolclass=sa.NullPool)
        database = sa.make_url(private_api.server.url).database
        private_api.server.engine.dispose()

        def others() -> list[int]:
            """The service's connections; only those made from now on idle for a second."""
            with engine.connect() as connection:
                ids = sa.text("SELECT id FROM information_schema.processlist WHERE db = :db")
                return list(connection.execute(ids, {"db": database}).scalars())

        def set_timeout(seconds: int) -> None:
            with engine.connect() as connection:
                connection.execute(sa.text(f"SET GLOBAL wait_timeout = {seconds}"))

        set_timeout(1)
        try:
            with engine.connect() as connection:
                for number in others():
                    connection.execute(sa.text(f"KILL {number}"))
            for number in range(3):
                self._fill_pools(private_api, f"before{number}")
                wait_until(lambda: not others())
                assert_works(private_api, f"after{number}")
        finally:
            set_timeout(28800)

    @staticmethod
    def _fill_pools(api: Api, username: str) -> None:
        reads = [Call("GET", "/users", api.admin.token)] * 8
        writes = [creation(api, f"{username}_{number}") for number in range(8)]
        assert {reply.status for reply in at_once(api.server, [*reads, *writes])} == {200, 201}


class TestDatabaseDown:
    """R2."""

    def test_stopped_it_is_unavailable_and_heals_itself(self, private_api: Api, private_server: PrivateServer) -> None:
        """R2."""
        printed = len(private_api.server.text)
        assert_works(private_api, "before")
        with Watch(private_api.server) as live:
            with private_server.stopped():
                for _ in range(3):
                    replies, seconds = timed(lambda: at_once(private_api.server, one_of_each(private_api, "lost")))
                    assert_unavailable(replies)
                    assert seconds < 5
                ready = private_api.http.get("/health/ready")
                assert (ready.status_code, ready.json()["detail"]) == (503, "Not ready: database")
            assert_works(private_api, "after")
            assert private_api.http.get("/health/ready").status_code == 200
        live.assert_answered_within(1)
        assert "Traceback" not in private_api.server.text[printed:]
        assert private_api.sql("SELECT COUNT(*) FROM users WHERE username = 'lost'")[0][0] == 0

    def test_frozen_it_is_unavailable_and_heals_itself(self, private_api: Api, private_server: PrivateServer) -> None:
        """R2."""
        printed = len(private_api.server.text)
        assert_works(private_api, "before")
        with Watch(private_api.server) as live:
            with private_server.frozen():
                asked = Crowd(private_api.server, [Call("GET", "/health/ready"), *one_of_each(private_api, "lost")])
                (ready, *replies), seconds = timed(lambda: list(asked.send().replies()))
                assert_unavailable(replies)
                assert seconds < 10
                assert (ready.status, ready.body["detail"]) == (503, "Not ready: database")
                # A second time, with whatever the first one left behind; more of them than the pools hold.
                more = [call for number in range(5) for call in one_of_each(private_api, f"lost{number}")]
                replies, seconds = timed(lambda: at_once(private_api.server, more))
                assert_unavailable(replies)
                assert seconds < 10
            wait_until(
                lambda: private_api.http.get("/users/me", headers=bearer(private_api.admin.token)).is_success, 10
            )
            assert_works(private_api, "after")
            assert private_api.http.get("/health/ready").status_code == 200
        live.assert_answered_within(1)
        assert "Traceback" not in private_api.server.text[printed:]


class TestLockedTable:
    """R3."""

    @pytest.fixture(params=["users", "login_sessions"])
    def locked(self, api: Api, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
        """A table is locked by another session until this is called."""
        statement = {
            "postgresql": f"LOCK TABLE {request.param} IN ACCESS EXCLUSIVE MODE",
            "mysql": f"LOCK TABLES {request.param} WRITE",
        }
        if api.kind not in statement:
            pytest.skip("SQLite has no table locks")
        assert api.admin.token  # logged in before the lock
        engine = sync_engine(api.server.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement[api.kind]))
            yield connection.invalidate
            connection.invalidate()

    def test_it_is_unavailable_until_the_lock_goes(self, api: Api, locked: Callable[[], None]) -> None:
        """R3."""
        with Watch(api.server) as live:
            calls = [call for number in range(5) for call in one_of_each(api, f"lost{number}")]
            replies, seconds = timed(lambda: at_once(api.server, calls))
            assert_unavailable(replies)
            assert seconds < 10
            locked()
            wait_until(lambda: api.http.get("/users/me", headers=bearer(api.admin.token)).is_success)
            assert_works(api, "after")
        live.assert_answered_within(1)

    def test_it_goes_on_when_the_lock_goes_in_time(self, api: Api, locked: Callable[[], None]) -> None:
        """R3."""
        crowd = Crowd(api.server, one_of_each(api, "waiting")).send()
        with Watch(api.server) as live:
            wait_until(lambda: len(live.seconds) > 50)
        locked()
        assert [reply.status for reply in crowd.replies()] == [200, 200, 200, 201, 200]
        live.assert_answered_within(1)


class TestSQLiteWriteLock:
    """R4."""

    @pytest.fixture
    def sqlite_api(self) -> Iterator[Api]:
        with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            assert api.admin.token  # logged in before the lock
            yield api
            api.close()

    @pytest.fixture
    def holder(self, sqlite_api: Api) -> Iterator[sqlite3.Connection]:
        """A connection of another process than the service's, holding the write lock."""
        path = sqlite_path(sqlite_api.server.url)
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield holder

    def test_writes_are_refused_in_time_and_reads_go_on(self, sqlite_api: Api, holder: sqlite3.Connection) -> None:
        """R4."""
        token = sqlite_api.admin.token
        writes = [creation(sqlite_api, f"lost{number}") for number in range(5)] + [LOGIN]
        with Watch(sqlite_api.server) as live, Watch(sqlite_api.server, "/users", token) as reads:
            replies, seconds = timed(lambda: at_once(sqlite_api.server, writes))
        assert_unavailable(replies)
        assert 4.5 < seconds < 6.5  # all of them together, not one after another
        for watch in (live, reads):
            watch.assert_answered_within(0.5)
            assert sorted(watch.seconds)[len(watch.seconds) // 2] < 0.05
            assert len(watch.seconds) > 100
        holder.execute("ROLLBACK")
        assert_works(sqlite_api, "after")

    def test_writes_wait_for_the_lock(self, sqlite_api: Api, holder: sqlite3.Connection) -> None:
        """R4."""
        writes = [creation(sqlite_api, f"waiting{number}") for number in range(5)] + [LOGIN]
        crowd = Crowd(sqlite_api.server, writes).send()
        with Watch(sqlite_api.server, "/users/me", sqlite_api.admin.token) as reads:
            wait_until(lambda: len(reads.seconds) > 100)  # more than a second
            holder.execute("COMMIT")
            replies, seconds = timed(lambda: list(crowd.replies()))
        assert [reply.status for reply in replies] == [201] * 5 + [200]
        assert seconds < 2
        reads.assert_answered_within(0.5)


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


class TestFailedCommit:
    """R6."""

    @pytest.mark.parametrize(
        "fault", ["RAISE EXCEPTION ''no''", "PERFORM pg_terminate_backend(pg_backend_pid())"], ids=["refused", "ended"]
    )
    def test_postgresql_fails_at_the_commit(self, private_api: Api, private_server: PrivateServer, fault: str) -> None:
        """R6."""
        if private_server.kind != "postgresql":
            pytest.skip("only PostgreSQL has deferred triggers")
        private_api.sql(
            f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {fault}; RETURN NULL; END'"
        )
        private_api.sql(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION at_commit()"
        )
        try:
            (reply,) = at_once(private_api.server, [creation(private_api, "alice")])
        finally:
            private_api.sql("DROP FUNCTION at_commit CASCADE")
        assert reply.status == (500 if "RAISE" in fault else 503), reply
        self._assert_not_made(private_api)

    def test_mariadb_cannot_commit(self, private_api: Api, private_server: PrivateServer) -> None:
        """R6."""
        if private_server.kind != "mysql":
            pytest.skip("a way to hold commits that only MariaDB has")
        with sync_engine(private_server.url, poolclass=sa.NullPool).connect() as backup:
            for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                backup.execute(sa.text(f"BACKUP STAGE {stage}"))
            replies, seconds = timed(lambda: at_once(private_api.server, [creation(private_api, "alice"), LOGIN]))
            backup.execute(sa.text("BACKUP STAGE END"))
        assert_unavailable(replies)
        assert seconds < 10
        self._assert_not_made(private_api)

    @pytest.mark.parametrize("cut", ["before", "after"])
    def test_the_connection_breaks_during_the_commit(
        self, private_server: PrivateServer, private_url: str, cut: str
    ) -> None:
        """R6."""
        proxy = Proxy(private_server.port)
        url = sa.make_url(private_url).set(port=proxy.port).render_as_string(hide_password=False)
        with closing(proxy), serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                assert api.admin.token  # logged in before the fault
                proxy.cut_commit(cut)
                assert_unavailable(at_once(server, [creation(api, "alice")]))
                made = api.sql("SELECT COUNT(*) FROM users WHERE username = 'alice'")[0][0]
                assert made == (1 if cut == "after" else 0)
                assert_works(api, "after")

    def test_sqlite_cannot_write_to_the_disk(self) -> None:
        """R6."""
        with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                assert api.admin.token  # logged in before the fault
                pid = server.process.pid
                unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
                replies = at_once(server, [creation(api, f"lost{number}") for number in range(3)] + [LOGIN])
                assert {reply.status for reply in replies} == {503}, replies
                assert at_once(server, [Call("GET", "/users/me", api.admin.token)])[0].status == 200
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
                assert [row.username for row in api.sql("SELECT username FROM users")] == ["admin"]
                assert_works(api, "after")
                assert api.sql("PRAGMA integrity_check")[0][0] == "ok"

    @staticmethod
    def _assert_not_made(api: Api) -> None:
        assert api.sql("SELECT COUNT(*) FROM users WHERE username = 'alice'")[0][0] == 0
        assert_works(api, "after")


class TestKilledProcesses:
    """R7."""

    def test_what_was_acknowledged_is_there(self, url: str) -> None:
        """R7."""
        acknowledged: list[int] = []
        with serving(url, "--workers", "4", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            token = at_once(server, [LOGIN])[0].body["access_token"]
            with self._load(server, token, acknowledged):
                wait_until(lambda: len(acknowledged) >= 50)
                workers = self._workers(server)
                assert len(workers) == 4
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                # The parent starts others, and the clients go on.
                before = len(acknowledged)
                wait_until(lambda: len(acknowledged) >= before + 100, 30)
                server.process.send_signal(signal.SIGSTOP)  # it starts no more of them
                for pid in [*self._workers(server), server.process.pid]:
                    os.kill(pid, signal.SIGKILL)
        with serving(url) as server:
            assert at_once(server, [Call("GET", "/users/me", token)])[0].status == 200
        engine = sync_engine(url)
        with engine.connect() as connection:
            there = set(connection.execute(sa.text("SELECT id FROM users")).scalars())
            assert len(set(acknowledged)) == len(acknowledged) >= 150
            assert set(acknowledged) <= there
            if engine.dialect.name == "sqlite":
                assert connection.execute(sa.text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        engine.dispose()

    @staticmethod
    def _workers(server: Server) -> list[int]:
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()]
        return [int(pid) for pid, parent, args in rows if int(parent) == server.process.pid and "spawn_main" in args]

    @staticmethod
    @contextmanager
    def _load(server: Server, token: str, acknowledged: list[int]) -> Iterator[None]:
        """Eight clients that make users, one after another, as long as this runs."""
        done = threading.Event()
        address = urlsplit(server.base_url).netloc

        def make(client: int) -> None:
            number = 0
            while not done.is_set():
                name = f"load_{client}_{(number := number + 1)}"
                body = f'{{"username": "{name}", "email": "{name}@example.com", "password": "{PASSWORD}"}}'
                try:
                    with closing(HTTPConnection(address, timeout=5)) as connection:
                        connection.request(
                            "POST", "/users", body, {"Content-Type": "application/json", **bearer(token)}
                        )
                        answer = connection.getresponse()
                        text = answer.read()
                except (OSError, HTTPException):
                    done.wait(0.02)
                    continue
                if answer.status == 201:
                    acknowledged.append(json.loads(text)["id"])

        threads = [threading.Thread(target=make, args=(client,), daemon=True) for client in range(8)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


class TestShutdown:
    """R8."""

    def test_logins_under_way_complete(self, url: str) -> None:
        """R8."""
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            self._end_during_logins(server, 5)
            assert "Traceback" not in server.text

    def test_it_ends_in_time_though_a_client_has_sent_half_a_body(self) -> None:
        """R8."""
        with (
            new_database("sqlite") as url,
            serving(url, "--workers", "2", BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server,
        ):
            address = urlsplit(server.base_url)
            with closing(socket.create_connection((address.hostname, address.port))) as slow:
                slow.sendall(
                    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
                    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=adm"
                )
                self._end_during_logins(server, 20)

    @staticmethod
    def _end_during_logins(server: Server, seconds: float) -> None:
        replies = Crowd(server, [LOGIN] * 6).send().replies()
        first = next(replies)  # the others are being verified or wait for their turn
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        statuses = [reply.status for reply in replies]
        server.process.wait(30)
        assert time.monotonic() - begun < seconds
        assert [first.status, *statuses] == [200] * 6


class TestLoginFlood:
    """R9."""

    def test_reads_go_on_during_many_logins(self, url: str) -> None:
        """R9."""
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                names = [api.new_user(f"user{number}")["username"] for number in range(6)]
                logins = [Call("POST", "/token", form={"username": name, "password": PASSWORD}) for name in names] * 5
                watches = [Watch(server, path, api.admin.token) for path in ("/users/me", "/users", "/health/ready")]
                with watches[0], watches[1], watches[2]:
                    replies = at_once(server, logins)
                assert [reply.status for reply in replies] == [200] * 30, replies
                for watch in watches:
                    watch.assert_answered_within(1)
                    assert len(watch.seconds) > 50


class TestUnitsOfWork:
    """R6, R11: what `Database` does about a unit that failed."""

    @pytest.fixture
    def counters(self, private_server: PrivateServer) -> Iterator[sa.Engine]:
        """A database with a table of two counters at 0."""
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
                await asyncio.gather(*(client(database, number) for number in range(len(served))))
            finally:
                await database.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        assert min(served) >= 45, served

    @pytest.mark.parametrize("times", [1, 3, 4])
    def test_the_loser_of_a_deadlock_runs_again_three_times(self, counters: sa.Engine, times: int) -> None:
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

    @pytest.mark.parametrize("times", [1, 3, 4])
    def test_a_unit_that_cannot_be_serialized_runs_again_three_times(self, counters: sa.Engine, times: int) -> None:
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
        if times <= 3:
            self._run(counters, work, True)
        else:
            with pytest.raises(DatabaseUnavailable):
                self._run(counters, work, True)
        assert work.runs == min(times, 3) + 1
        assert self._values(counters) == ([10, 10] if times <= 3 else [0, 0])

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


class Counted:
    """A unit of work that is told which run of it this is, counted from 1."""

    def __init__(self, work: Callable[[Any, int], Any]) -> None:
        self._work = work
        self.runs = 0

    def __call__(self, session: Session | sa.Connection) -> Any:
        self.runs += 1
        return self._work(session, self.runs)


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
