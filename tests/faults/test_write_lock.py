"""SQLite's write lock, held by another process."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.client import Api
from tests.support.crowd import Crowd, Watch, at_once
from tests.support.databases import new_database, sqlite_path
from tests.support.faults import LOGIN, assert_unavailable, assert_works, creation, timed
from tests.support.logins import refreshed
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import wait_until
from tests.support.servers import serving

pytestmark = pytest.mark.alone


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
            assert len(watch.seconds) > 30
        holder.execute("ROLLBACK")
        assert_works(sqlite_api, "after")

    def test_first_use_of_renewed_tokens_neither_fails_nor_waits(self, sqlite_api: Api) -> None:
        """R4, S27: it is noted once the lock goes."""
        pair = refreshed(sqlite_api, sqlite_api.grant("admin", ADMIN_PASSWORD))
        used = "SELECT used_generation FROM login_sessions ORDER BY id DESC LIMIT 1"
        with closing(sqlite3.connect(sqlite_path(sqlite_api.server.url), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with Watch(sqlite_api.server, "/users/me", pair["access_token"]) as reads:
                wait_until(lambda: len(reads.seconds) > 50)
            reads.assert_answered_within(1)
            assert sorted(reads.seconds)[25] < 0.05
            assert sqlite_api.sql(used) == [(1,)]
            holder.execute("ROLLBACK")
        wait_until(lambda: sqlite_api.sql(used) == [(2,)])

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
