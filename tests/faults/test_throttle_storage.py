"""The storage that processes share for the throttle: in order, stopped and frozen."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from limits.aio.storage import RedisStorage

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.crowd import at_once
from tests.support.databases import ON_SQLITE, skip_without
from tests.support.insides import SharedCounters, Throttle
from tests.support.people import ADMIN_PASSWORD, WRONG_PASSWORD
from tests.support.processes import free_port, refused_to_start, run, wait_until
from tests.support.redis_servers import RedisServer
from tests.support.throttle import SLOTS, assert_locked, fail, log_in, login_call, throttled, wait_asked, wrong_at_once


@pytest.fixture
def shared_storage() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        skip_without("redis", "there is no redis-server")
    server = RedisServer()
    server.start()
    yield server
    server.stop()


def unlock(api: Api, username: str, **settings: Any) -> Any:
    return run("userapi", "unlock", username, url=api.server.url, **settings)  # it leaves Redis by its end only


@pytest.mark.slow
class TestSharedStorage:
    """S6: workers and hosts that count together."""

    @ON_SQLITE
    def test_four_workers_count_as_one_until_the_operator_unlocks(self, url: str, shared_storage: RedisServer) -> None:
        """S6: those that are being hashed when the fifth fails are checked, and not one more."""
        settings = {"THROTTLE_STORAGE_URL": shared_storage.url, "FORWARDED_ALLOW_IPS": "127.0.0.1"}
        with throttled(url, "--workers", "4", **settings) as api:
            wait_until(lambda: api.server.text.count("Application startup complete") == 4)
            api.new_user("alice")
            for number in range(10):
                api.http.headers["X-Forwarded-For"] = f"192.0.2.{number}"  # an address has its own lock
                checked, _ = wrong_at_once(api, f"nobody{number}" if number < 9 else "alice")
                assert 5 <= len(checked) < 5 + 4 * SLOTS
            api.http.headers["X-Forwarded-For"] = "192.0.2.99"
            right = login_call(api, "alice")
            assert {reply.status for reply in at_once(api.server, [right] * 16)} == {429}
            assert "alice" not in repr(shared_storage.keys())
            done = unlock(api, "Alice", THROTTLE_STORAGE_URL=shared_storage.url)
            assert done.returncode == 0, done.stderr
            assert {reply.status for reply in at_once(api.server, [right] * 16)} == {200}

    def test_lock_has_no_gap_while_late_failures_come_in(self, shared_storage: RedisServer) -> None:
        """S6: what was being hashed when the lock fell still counts, and opens the door to nobody."""

        async def waits() -> list[int]:
            throttle = Throttle(shared_storage.url)
            for _ in range(5):
                await fail(throttle, "alice")
            late = [fail(throttle, "alice") for _ in range(15)]
            asked = [wait_asked(throttle, "alice") for _ in range(60)]
            # In turns, each on a connection of its own: they meet between the commands of the others.
            mixed = [work for index, one in enumerate(late) for work in (one, *asked[index * 4 : index * 4 + 4])]
            found = [seconds for seconds in await asyncio.gather(*mixed) if seconds is not None]
            assert not throttle.alone
            assert isinstance(throttle._shared, SharedCounters)
            assert isinstance(throttle._shared.storage, RedisStorage)
            await throttle.close()
            return found

        found = asyncio.run(waits())
        assert len(found) == 60
        assert min(found) > 0, f"{found.count(0)} of 60 were let through"

    @ON_SQLITE
    def test_very_many_attempts_at_once_do_not_part_the_workers(self, url: str, shared_storage: RedisServer) -> None:
        """S6: nobody makes a process count for itself by sending more than it has connections to the storage."""
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            replies = at_once(api.server, [login_call(api, "alice", WRONG_PASSWORD)] * 120)
            assert {reply.status for reply in replies} <= {401, 429, 503}
            assert "throttle storage unavailable" not in api.server.text

    @ON_SQLITE
    def test_lock_survives_a_restart_of_the_service(self, url: str, shared_storage: RedisServer) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            for _ in range(5):
                log_in(api, "alice", WRONG_PASSWORD)
            assert api.server.stop(25) == 0  # soon, as all its connections are closed
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            assert_locked(log_in(api, "alice"))

    @ON_SQLITE
    @pytest.mark.parametrize("login", ["alice", "alice@example.com"])
    def test_unlock_takes_either_name(self, url: str, shared_storage: RedisServer, login: str) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            api.new_user("alice")
            for _ in range(5):
                log_in(api, login, WRONG_PASSWORD)
            assert_locked(log_in(api, login))
            assert unlock(api, "alice", THROTTLE_STORAGE_URL=shared_storage.url).returncode == 0
            assert log_in(api, login).status_code == 200

    @ON_SQLITE
    def test_down_logins_go_on_and_the_log_says_so(self, url: str, shared_storage: RedisServer) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            api.new_user("alice")
            shared_storage.stop()
            for _ in range(3):
                assert log_in(api, "alice").status_code == 200
            wait_until(lambda: "throttle storage unavailable" in api.server.text)
            (warning,) = (line for line in api.server.output if "throttle storage unavailable" in line)
            assert " WARNING " in warning
            api.new_user("carol")  # has never logged in, so no device is known
            for _ in range(5):
                assert_refused(log_in(api, "carol", WRONG_PASSWORD), "invalid_credentials")
            assert_locked(log_in(api, "carol"))  # this process counts for itself
            done = unlock(api, "carol", THROTTLE_STORAGE_URL=shared_storage.url)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (
                1,
                "error: the throttle's storage does not answer",
            )
            shared_storage.start()

            def shared_again() -> bool:
                log_in(api, "bob", WRONG_PASSWORD)
                return bool(shared_storage.keys())

            wait_until(shared_again)

    @ON_SQLITE
    def test_frozen_logins_go_on_within_seconds(self, url: str, shared_storage: RedisServer) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api, shared_storage.frozen():
            begun = time.monotonic()
            for _ in range(4):
                assert log_in(api, "admin", ADMIN_PASSWORD).status_code == 200
            assert time.monotonic() - begun < 8

    @ON_SQLITE
    def test_absent_from_the_start_it_serves(self, url: str) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=f"redis://127.0.0.1:{free_port()}/0") as api:
            assert "throttle storage unavailable" in api.server.text

    @ON_SQLITE
    def test_unlock_says_what_it_needs(self, api: Api) -> None:
        assert "--address" in refused_to_start(command("unlock", url=api.server.url))
        assert "no address" in refused_to_start(command("unlock", "--address", "alice", url=api.server.url))
        assert refused_to_start(unlock(api, "nobody")) == "User not found"

    @ON_SQLITE
    @pytest.mark.parametrize("storage", ["memory://", "http://localhost", "localhost:6379", "memcached://localhost"])
    def test_other_storages_are_refused(self, api: Api, storage: str) -> None:
        """A storage that is not shared would count as none, in silence."""
        done = command("serve", url=api.server.url, THROTTLE_STORAGE_URL=storage)
        assert refused_to_start(done).startswith("THROTTLE_STORAGE_URL: ")
