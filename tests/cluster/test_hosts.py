"""Two hosts that serve together, behind a balancer, and what they share (R14)."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
import sqlalchemy as sa

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.clusters import HAProxy, replicated, url_of
from tests.support.crowd import Call, at_once
from tests.support.databases import ON_SQLITE, skip_without, sync_engine, url_at
from tests.support.faults import LOGIN
from tests.support.insides import Database, DatabaseCounters
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.private_databases import AbsentError
from tests.support.processes import run, wait_until
from tests.support.redis_servers import redis_cluster, redis_with_sentinel, wait_promoted
from tests.support.servers import Server, serving
from tests.support.throttle import log_in, throttled
from tests.support.writers import Writers

log = logging.getLogger(__name__)

HOSTS = ["127.0.0.2", "127.0.0.3"]


@contextmanager
def two_hosts(url: str, **settings: str) -> Iterator[list[Server]]:
    """A service on each of two addresses; balancers and clients come from the loopback address."""
    settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "FORWARDED_ALLOW_IPS": "127.0.0.1", **settings}
    with ExitStack() as stack:
        yield [stack.enter_context(serving(url, host=host, **settings)) for host in HOSTS]


class TestSharedBudgets:
    """R14: what hosts count together, whatever they count with."""

    @staticmethod
    def assert_shared(url: str, storage: str) -> None:
        with two_hosts(url, THROTTLE_STORAGE_URL=storage) as (one, other), closing(Api(one)) as api:
            api.new_user("alice")
            form = {"username": "alice", "password": WRONG_PASSWORD}
            wrong = Call("POST", "/token", form=form, headers={"X-Forwarded-For": "192.0.2.1"})
            for server in (one, other, one, other, one):
                assert at_once(server, [wrong])[0].status == 401
            right = wrong._replace(form={"username": "alice", "password": PASSWORD})
            for server in (one, other):
                [reply] = at_once(server, [right])
                assert (reply.status, reply.body["code"]) == (429, "too_many_attempts")
            assert "throttle storage unavailable" not in one.text + other.text

    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
    def test_in_the_database(self, url: str) -> None:
        """R14: without anything else."""
        self.assert_shared(url, "database:")

    @ON_SQLITE
    def test_in_a_cluster_of_redis(self, url: str) -> None:
        """R14."""
        with redis_cluster() as storage:
            self.assert_shared(url, storage)

    @ON_SQLITE
    def test_in_what_sentinels_watch(self, url: str) -> None:
        """R14."""
        with redis_with_sentinel() as (storage, _):
            self.assert_shared(url, storage)

    @ON_SQLITE
    def test_replica_that_sentinels_promoted_goes_on_counting(self, url: str) -> None:
        """R14: a lock of before holds, and failures of before and after add up, on both hosts."""
        with (
            redis_with_sentinel() as (storage, master),
            two_hosts(url, THROTTLE_STORAGE_URL=storage) as hosts,
            closing(Api(hosts[0])) as api,
        ):
            for username in ("alice", "bob"):
                api.new_user(username)

            def answers(username: str, password: str) -> list[int]:
                form = {"username": username, "password": password}
                call = Call("POST", "/token", form=form, headers={"X-Forwarded-For": "192.0.2.1"})
                return [at_once(host, [call])[0].status for host in hosts]

            assert answers("bob", WRONG_PASSWORD) == [401, 401]
            for _ in range(2):
                assert answers("alice", WRONG_PASSWORD) == [401, 401]
            assert answers("alice", WRONG_PASSWORD) == [401, 429]
            master.wait_replicated()
            master.stop()
            wait_promoted(storage, master)
            assert answers("alice", PASSWORD) == [429, 429]
            assert answers("bob", WRONG_PASSWORD) == [401, 401]
            assert answers("bob", WRONG_PASSWORD) == [401, 429]
            assert answers("bob", PASSWORD) == [429, 429]
            assert not any("throttle storage unavailable" in host.text for host in hosts)
            assert [host.stop(25) for host in hosts] == [0, 0]

    def test_counters_in_the_database_count_right(self, url: str) -> None:
        """R14: by many at once, and anew when their time is over."""

        async def counted() -> None:
            databases = [Database(url), Database(url)]
            one, other = (DatabaseCounters(database) for database in databases)
            await asyncio.gather(*(counters.add("users/1", 60) for counters in (one, other) for _ in range(15)))
            assert await other.add("users/1", 60) == 31
            assert 50 < await one.left("users/1", 31) <= 60
            assert await one.left("users/1", 32) == 0
            assert await one.left("users/2", 1) == 0
            await other.clear("users/1")
            assert await one.add("users/1", 0.001) == 1
            await asyncio.sleep(0.01)
            assert await other.left("users/1", 1) == 0
            assert await other.add("users/1", 60) == 1
            assert 50 < await one.left("users/1", 1) <= 60
            await asyncio.gather(*(database.close() for database in databases))

        asyncio.run(counted())

    def test_counter_that_begins_anew_is_not_forgotten(self, url: str, kind: str) -> None:
        """S7, R14: another had found its time over, and was about to forget it."""
        if kind == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        engine = sync_engine(url, poolclass=sa.NullPool)

        async def counted() -> None:
            counters = DatabaseCounters(database := Database(url))
            assert await counters.add("users/1", 0.001) == 1
            with engine.begin() as other:
                other.execute(sa.text("UPDATE throttle_counters SET many = 5, ends = ends + 60000"))
                forgetting = asyncio.ensure_future(counters.add("users/2", 60))
                done, _ = await asyncio.wait({forgetting}, timeout=1)
                assert not done
            assert await forgetting == 1
            assert await counters.left("users/1", 5) > 0
            await database.close()

        asyncio.run(counted())

    @ON_SQLITE
    def test_operator_unlocks_in_the_database(self, url: str) -> None:
        """R14."""
        with throttled(url, THROTTLE_STORAGE_URL="database:") as api:
            api.new_user("alice")
            for _ in range(5):
                log_in(api, "alice", WRONG_PASSWORD)
            assert_refused(log_in(api, "alice"), "too_many_attempts")
            done = run("userapi", "unlock", "alice", url=url, THROTTLE_STORAGE_URL="database:")
            assert done.returncode == 0, done.stderr
            assert log_in(api, "alice").status_code == 200


@pytest.mark.slow
class TestBalanced:
    """R14."""

    def test_each_part_is_killed_under_load(self) -> None:
        """R14: Redis, the primary, a host; clients see 201 and 503, and nothing acknowledged is lost."""
        with ExitStack() as stack:
            try:
                primary, standby = stack.enter_context(replicated())
                storage, master = stack.enter_context(redis_with_sentinel())
                servers = stack.enter_context(two_hosts(url_of(primary, standby), THROTTLE_STORAGE_URL=storage))
                balancer = HAProxy(servers)
            except AbsentError as absent:
                skip_without("haproxy", str(absent))
            stack.callback(balancer.close)
            servers[0].url = url_at(primary.url, "postgresql:///users")
            api = stack.enter_context(closing(Api(servers[0])))
            assert api.admin.token
            wait_until(lambda: at_once(balancer, [Call("GET", "/users/me", api.admin.token)])[0].status == 200)
            with Writers([balancer] * 4, api.admin.token) as writers:

                def goes_on(word: str) -> None:
                    before = len(writers.acknowledged)
                    wait_until(lambda: len(writers.acknowledged) > before + 20, 30)

                    log.info("%s: %s", word, writers)
                    writers.longest_pause = 0

                goes_on("in order")
                master.stop()
                goes_on("Redis killed")
                assert at_once(balancer, [LOGIN])[0].status == 200
                primary.crash()
                standby.promote()
                goes_on("primary killed, standby promoted")
                servers[1].process.send_signal(signal.SIGKILL)
                goes_on("host killed")
            assert set(writers.statuses) <= {201, 503}, writers.statuses
            there = {row[0] for row in standby.sql("SELECT username FROM users", database="users")}
            assert set(writers.acknowledged) <= there
