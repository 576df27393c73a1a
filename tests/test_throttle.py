"""The login throttle: what wrong passwords cost, and whom."""

import asyncio
import ipaddress
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from limits.aio.storage import RedisStorage

from tests.conftest import REQUIRED, shared_server
from tests.service import (
    ADMIN_PASSWORD,
    ON_SQLITE,
    PASSWORD,
    Api,
    Call,
    Reply,
    Server,
    assert_refused,
    at_once,
    free_port,
    refused_to_start,
    run,
    serving,
    wait_until,
)
from userapi.errors import ApiError, ErrorCode
from userapi.throttle import Throttle

WRONG = "Wrong-Horse-7"
SLOTS = os.cpu_count() or 1  # passwords that are hashed at once, in a process


@dataclass
class Clock:
    """A clock that tests move."""

    seconds: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


async def wait_asked(throttle: Throttle, login: str, address: str | None = None) -> int:
    """The seconds an attempt is told to wait; 0 if it may go on."""
    try:
        await throttle.check(login, address)
    except ApiError as error:
        return int(error.headers["Retry-After"]) if error.code is ErrorCode.TOO_MANY_ATTEMPTS else -1
    return 0


@pytest.mark.usefixtures("clock")
class TestRules:
    """S6, by a clock that is moved."""

    def test_fifth_failure_locks_for_30_s_and_each_further_one_twice_as_long_to_15_min(self, clock: Clock) -> None:
        """S6."""

        async def locks() -> list[int]:
            throttle, found = Throttle(), []
            for _ in range(12):
                await throttle.fail("alice", None)
                found.append(await wait_asked(throttle, "alice"))
                clock.seconds += found[-1]
                assert await wait_asked(throttle, "alice") == 0  # it has expired
            return found

        assert asyncio.run(locks()) == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]

    def test_lock_holds_until_its_last_second(self, clock: Clock) -> None:
        """S6."""

        async def waits() -> list[int]:
            throttle, found = Throttle(), []
            for _ in range(5):
                await throttle.fail("alice", None)
            for seconds in (0.5, 10, 19, 0.4):
                clock.seconds += seconds
                found.append(await wait_asked(throttle, "alice"))
            clock.seconds += 0.2
            return [*found, await wait_asked(throttle, "alice")]

        assert asyncio.run(waits()) == [30, 20, 1, 1, 0]

    def test_at_most_100_tries_of_one_account_in_a_day(self, clock: Clock) -> None:
        """S6: NIST SP 800-63B-4 section 3.2.2 asks for it before anything else must happen; the locks come to it."""

        async def tries() -> int:
            throttle, count, end = Throttle(), 0, clock.seconds + 24 * 3600
            while clock.seconds < end:
                if seconds := await wait_asked(throttle, "alice"):
                    clock.seconds += seconds
                else:
                    await throttle.fail("alice", None)
                    count += 1
            return count

        assert asyncio.run(tries()) <= 130

    def test_success_clears_the_account(self) -> None:
        async def waits() -> list[int]:
            throttle, found = Throttle(), []
            for failures in (4, 4, 5):
                for _ in range(failures):
                    await throttle.fail("alice", "192.0.2.1")
                found.append(await wait_asked(throttle, "alice"))
                await throttle.forgive("alice")
                found.append(await wait_asked(throttle, "alice"))
            return found

        assert asyncio.run(waits()) == [0, 0, 0, 0, 30, 0]

    def test_account_is_one_in_any_letter_case(self) -> None:
        """S5."""

        async def waits() -> list[int]:
            throttle = Throttle()
            for login in ("alice", "ALICE", "Alice", "aLICE", "alicE"):
                await throttle.fail(login, None)
            return [await wait_asked(throttle, login) for login in ("AliCE", "alicia", "alice ")]

        assert asyncio.run(waits()) == [30, 0, 0]

    def test_hundredth_failure_of_an_address_locks_it_for_the_rest_of_15_min(self, clock: Clock) -> None:
        """S6: whoever it tries, and cleared by time only."""

        async def waits() -> list[int]:
            throttle, found = Throttle(), []
            for number in range(100):
                found.append(await wait_asked(throttle, "alice", "192.0.2.1"))
                await throttle.fail(f"user{number}", "192.0.2.1")
                clock.seconds += 1
            assert found == [0] * 100
            found = [await wait_asked(throttle, "alice", "192.0.2.1")]
            await throttle.forgive("alice")
            for address in ("192.0.2.1", "192.0.2.2", None):
                found.append(await wait_asked(throttle, "alice", address))
            clock.seconds += 15 * 60 - 100
            return [*found, await wait_asked(throttle, "alice", "192.0.2.1")]

        assert asyncio.run(waits()) == [800, 800, 0, 0, 0]

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("192.0.2.1", "192.0.2.2", False),
            ("testclient", "testclient", True),
            ("testclient", "otherclient", False),
        ],
    )
    def test_ipv6_addresses_count_by_the_household(self, one: str, other: str, same: bool) -> None:
        async def wait() -> int:
            throttle = Throttle()
            for number in range(100):
                await throttle.fail(f"user{number}", one)
            return await wait_asked(throttle, "alice", other)

        assert bool(asyncio.run(wait())) is same

    @pytest.mark.parametrize(
        "login", ["", "\0", "x" * 60_000, "\ud800", "a:b*c d\r\n"], ids=lambda login: ascii(login)[:9]
    )
    def test_any_login_can_be_counted(self, login: str) -> None:
        """S12."""

        async def wait() -> int:
            throttle = Throttle()
            for _ in range(5):
                await throttle.fail(login, None)
            return await wait_asked(throttle, login)

        assert asyncio.run(wait()) == 30


@contextmanager
def throttled(url: str, *options: str, **settings: Any) -> Iterator[Api]:
    """A client of a service with a throttle, and hashes that take long enough to come at once."""
    with serving(url, *options, FIRST_ADMIN_PASSWORD="Not-Used-1", **{"BCRYPT_ROUNDS": "6", **settings}) as server:
        api = Api(server)
        assert api.admin.token  # logged in before anything is locked
        yield api
        api.close()


@pytest.fixture(scope="module")
def throttled_server(kind: str) -> Iterator[Server]:
    """A service with a throttle that tests share: each comes from another address and tries other names."""
    settings = {"THROTTLE_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1", "BCRYPT_ROUNDS": "6"}
    with shared_server(kind, **settings) as server:
        yield server


@pytest.fixture
def guarded(throttled_server: Server) -> Iterator[Api]:
    api = Api(throttled_server)
    api.http.headers["X-Forwarded-For"] = str(ipaddress.IPv4Address(secrets.randbits(31)))
    yield api
    api.close()


@pytest.fixture
def name() -> str:
    """A name that no other test has tried."""
    return f"u{secrets.token_hex(6)}"


def log_in(api: Api, username: str, password: str = PASSWORD) -> Any:
    return api.http.post("/token", data={"username": username, "password": password})


def login_call(api: Api, username: str, password: str = PASSWORD) -> Call:
    address = api.http.headers.get("X-Forwarded-For", "")
    headers = {"X-Forwarded-For": address} if address else {}
    return Call("POST", "/token", form={"username": username, "password": password}, headers=headers)


def assert_locked(answer: Any, seconds: int = 30) -> None:
    assert_refused(answer, "too_many_attempts")
    assert 1 <= int(answer.headers["Retry-After"]) <= seconds


def wrong_at_once(api: Api, username: str, count: int = 50) -> tuple[list[Reply], list[Reply]]:
    """Send wrong passwords in parallel; give the answers of those that were checked, and of those that were not."""
    replies = at_once(api.server, [login_call(api, username, WRONG)] * count)
    assert {reply.status for reply in replies} == {401, 429}, replies
    refused = [reply for reply in replies if reply.status == 429]
    assert all(1 <= int(reply.headers["retry-after"]) <= 900 for reply in refused)
    return [reply for reply in replies if reply.status == 401], refused


class TestLogin:
    """S6, S7."""

    def test_of_many_wrong_passwords_at_once_few_are_checked(self, guarded: Api, name: str) -> None:
        """S6."""
        guarded.new_user(name)
        for username in (name, f"{name}x"):  # S7: known or not
            checked, refused = wrong_at_once(guarded, username)
            assert 5 <= len(checked) < 5 + SLOTS
            assert len(checked) + len(refused) == 50
        right = log_in(guarded, name)
        assert_locked(right, 900)
        assert right.json() == refused[0].body
        guarded.new_actor("bob")  # others are not locked

    def test_of_many_right_passwords_at_once_all_pass(self, guarded: Api, name: str) -> None:
        """S6: also right before the lock."""
        guarded.new_user(name)
        for _ in range(4):
            assert_refused(log_in(guarded, name, WRONG), "invalid_credentials")
        calls = [login_call(guarded, name)] * 30
        assert {reply.status for reply in at_once(guarded.server, calls)} == {200}

    def test_success_clears_the_count(self, guarded: Api, name: str) -> None:
        guarded.new_user(name)
        for _ in range(3):
            for _ in range(4):
                assert_refused(log_in(guarded, name, WRONG), "invalid_credentials")
            assert log_in(guarded, name).status_code == 200

    def test_unknown_and_inactive_are_locked_like_any(self, guarded: Api, name: str) -> None:
        """S7."""
        for username in (name, f"{name}s"):
            guarded.new_user(username)
        guarded.sql("UPDATE users SET is_active = false WHERE username = :name", name=f"{name}s")
        answers = []
        for username, password in ((name, WRONG), (f"{name}x", PASSWORD), (f"{name}s", PASSWORD)):
            answers.append([log_in(guarded, username, password) for _ in range(6)])
        statuses = [[answer.status_code for answer in each] for each in answers]
        assert statuses == [[401] * 5 + [429]] * 3
        assert len({each[-1].content for each in answers}) == 1

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_current_password_counts_too(self, guarded: Api, name: str, method: str) -> None:
        """S6, S15: a stolen token is no way to guess the password."""
        alice = guarded.new_actor(name)

        def change(password: str) -> Any:
            body = {"password": "Other-Saddle-8", "current_password": password}
            return alice.request(method, "/users/me", json=body)

        for _ in range(5):
            assert_refused(change(WRONG), "current_password_incorrect")
        assert_locked(change(PASSWORD))
        assert_locked(log_in(guarded, name))
        assert alice.get("/users/me").status_code == 200
        assert alice.patch("/users/me", json={"age": 9}).status_code == 200  # what needs no password

    def test_wrong_logins_lock_current_password(self, guarded: Api, name: str) -> None:
        """S6."""
        alice = guarded.new_actor(name)
        for _ in range(5):
            log_in(guarded, name, WRONG)
        body = {"email": "new@example.com", "current_password": PASSWORD}
        assert_locked(alice.patch("/users/me", json=body))

    @ON_SQLITE
    def test_refreshing_goes_on(self, guarded: Api, name: str) -> None:
        """Whoever is logged in stays so, whatever strangers try."""
        guarded.new_user(name)
        pair = guarded.grant(name)
        for _ in range(5):
            log_in(guarded, name, WRONG)
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        assert guarded.http.post("/token", data=form).status_code == 200

    @pytest.mark.parametrize("given", ["x" * 200, "é" * 40, "unknown", "1.2.3.4.5", "[::1]:80", ","], ids=ascii)
    def test_any_forwarded_address_may_log_in(self, guarded: Api, given: str) -> None:
        """S12: a proxy may pass on what its client says."""
        form = {"username": "admin", "password": ADMIN_PASSWORD}
        headers = [(b"X-Forwarded-For", f"192.0.2.1, {given}".encode())]  # bytes, to send what is no ASCII
        assert guarded.http.post("/token", data=form, headers=headers).status_code == 200

    @ON_SQLITE
    def test_address_is_locked_after_100_failures_whoever_it_tries(self, url: str) -> None:
        """S6."""
        with throttled(url, BCRYPT_ROUNDS="4") as api:
            statuses = [log_in(api, f"user{number // 4}", WRONG).status_code for number in range(100)]
            assert statuses == [401] * 100
            assert_locked(log_in(api, "admin", ADMIN_PASSWORD), 900)
            assert api.admin.get("/users/me").status_code == 200

    @ON_SQLITE
    def test_can_be_turned_off(self, url: str) -> None:
        with throttled(url, BCRYPT_ROUNDS="4", THROTTLE_ENABLED="false") as api:
            assert {log_in(api, "alice", WRONG).status_code for _ in range(110)} == {401}


class TestTime:
    """S7: how long the answer takes tells nothing."""

    COUNT = 30
    TRIES = 4  # of the measurement: other load on the machine must not fail it, a difference would each time

    def test_unknown_wrong_and_inactive_take_the_same_time(self, url: str) -> None:
        """S7."""
        with throttled(url, BCRYPT_ROUNDS="8", THROTTLE_ENABLED="false") as api:
            for username in ("alice", "sleeper"):
                api.new_user(username)
            api.sql("UPDATE users SET is_active = false WHERE username = 'sleeper'")
            ratios = []
            for _ in range(self.TRIES):
                medians = self._medians(api)
                ratios.append(max(medians) / min(medians))
                if ratios[-1] < 1.2:
                    return
            pytest.fail(f"the medians differ by these factors: {ratios}")

    def _medians(self, api: Api) -> list[float]:
        cases = [("nobody", PASSWORD), ("alice", WRONG), ("sleeper", PASSWORD)]
        seconds: list[list[float]] = [[] for _ in cases]
        for _ in range(self.COUNT):
            for (username, password), taken in zip(cases, seconds, strict=True):
                begun = time.perf_counter()
                answer = log_in(api, username, password)
                taken.append(time.perf_counter() - begun)
                assert answer.status_code == 401
        return [statistics.median(taken) for taken in seconds]


@dataclass
class Redis:
    """A Redis server of the tests' own, that may be stopped and frozen."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        with suppress(redis.exceptions.ConnectionError), redis.Redis(port=self.port) as client:
            return bool(client.ping())
        return False

    def keys(self) -> list[bytes]:
        with redis.Redis(port=self.port) as client:
            found: list[bytes] = client.keys()
            return found

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, it neither answers nor closes a connection."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def shared_storage() -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        if "redis" in REQUIRED:
            pytest.fail("USERAPI_TEST_REQUIRE names redis: there is no redis-server")
        pytest.skip("there is no redis-server")
    server = Redis()
    server.start()
    yield server
    server.stop()


def unlock(api: Api, username: str, **settings: Any) -> Any:
    return run("userapi", "unlock", username, url=api.server.url, **settings)


class TestSharedStorage:
    """S6: workers and hosts that count together."""

    @ON_SQLITE
    def test_four_workers_count_as_one_until_the_operator_unlocks(self, url: str, shared_storage: Redis) -> None:
        """S6: those that are being hashed when the fifth fails are checked, and not one more."""
        settings = {"THROTTLE_STORAGE_URL": shared_storage.url, "FORWARDED_ALLOW_IPS": "127.0.0.1"}
        with throttled(url, "--workers", "4", **settings) as api:
            wait_until(lambda: api.server.text.count("Application startup complete") == 4)
            api.new_user("alice")
            for number in range(10):
                api.http.headers["X-Forwarded-For"] = f"192.0.2.{number}"  # an address has its own lock
                checked, _ = wrong_at_once(api, "alice" if number == 0 else f"nobody{number}")
                assert 5 <= len(checked) < 5 + 4 * SLOTS
            api.http.headers["X-Forwarded-For"] = "192.0.2.99"
            right = login_call(api, "alice")
            assert {reply.status for reply in at_once(api.server, [right] * 16)} == {429}
            assert "alice" not in repr(shared_storage.keys())
            done = unlock(api, "Alice", THROTTLE_STORAGE_URL=shared_storage.url)
            assert done.returncode == 0, done.stderr
            assert {reply.status for reply in at_once(api.server, [right] * 16)} == {200}

    def test_lock_has_no_gap_while_late_failures_come_in(self, shared_storage: Redis) -> None:
        """S6: what was being hashed when the lock fell still counts, and opens the door to nobody."""

        async def waits() -> list[int]:
            throttle = Throttle(shared_storage.url)
            for _ in range(5):
                await throttle.fail("alice", None)
            late = [throttle.fail("alice", None) for _ in range(15)]
            asked = [wait_asked(throttle, "alice") for _ in range(60)]
            # In turns, each on a connection of its own: they meet between the commands of the others.
            mixed = [work for index, one in enumerate(late) for work in (one, *asked[index * 4 : index * 4 + 4])]
            found = [seconds for seconds in await asyncio.gather(*mixed) if seconds is not None]
            assert not throttle.alone
            assert isinstance(throttle._shared, RedisStorage)
            bridge: Any = throttle._shared.bridge
            await bridge.storage.aclose()
            return found

        found = asyncio.run(waits())
        assert len(found) == 60
        assert min(found) > 0, f"{found.count(0)} of 60 were let through"

    @ON_SQLITE
    def test_very_many_attempts_at_once_do_not_part_the_workers(self, url: str, shared_storage: Redis) -> None:
        """S6: nobody makes a process count for itself by sending more than it has connections to the storage."""
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            replies = at_once(api.server, [login_call(api, "alice", WRONG)] * 250)
            assert {reply.status for reply in replies} <= {401, 429, 503}
            assert "throttle storage unavailable" not in api.server.text

    @ON_SQLITE
    def test_lock_survives_a_restart_of_the_service(self, url: str, shared_storage: Redis) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            for _ in range(5):
                log_in(api, "alice", WRONG)
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            assert_locked(log_in(api, "alice"))

    @ON_SQLITE
    @pytest.mark.parametrize("login", ["alice", "alice@example.com"])
    def test_unlock_takes_either_name(self, url: str, shared_storage: Redis, login: str) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            api.new_user("alice")
            for _ in range(5):
                log_in(api, login, WRONG)
            assert_locked(log_in(api, login))
            assert unlock(api, "alice", THROTTLE_STORAGE_URL=shared_storage.url).returncode == 0
            assert log_in(api, login).status_code == 200

    @ON_SQLITE
    def test_down_logins_go_on_and_the_log_says_so(self, url: str, shared_storage: Redis) -> None:
        with throttled(url, THROTTLE_STORAGE_URL=shared_storage.url) as api:
            api.new_user("alice")
            shared_storage.stop()
            for _ in range(3):
                assert log_in(api, "alice").status_code == 200
            wait_until(lambda: "throttle storage unavailable" in api.server.text)
            (warning,) = (line for line in api.server.output if "throttle storage unavailable" in line)
            assert " WARNING " in warning
            for _ in range(5):
                assert_refused(log_in(api, "alice", WRONG), "invalid_credentials")
            assert_locked(log_in(api, "alice"))  # this process counts for itself
            done = unlock(api, "alice", THROTTLE_STORAGE_URL=shared_storage.url)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (
                1,
                "error: the throttle's storage does not answer",
            )
            shared_storage.start()

            def shared_again() -> bool:
                log_in(api, "bob", WRONG)
                return bool(shared_storage.keys())

            wait_until(shared_again)

    @ON_SQLITE
    def test_frozen_logins_go_on_within_seconds(self, url: str, shared_storage: Redis) -> None:
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
    def test_unlock_says_what_it_needs(self, api: Api, shared_storage: Redis) -> None:
        assert "THROTTLE_STORAGE_URL" in refused_to_start(unlock(api, "admin"))
        refused = refused_to_start(unlock(api, "nobody", THROTTLE_STORAGE_URL=shared_storage.url))
        assert refused == "User not found"

    @ON_SQLITE
    @pytest.mark.parametrize("storage", ["memory://", "http://localhost", "localhost:6379", "memcached://localhost"])
    def test_other_storages_are_refused(self, api: Api, storage: str) -> None:
        """A storage that is not shared would count as none, in silence."""
        done = run("userapi", "serve", url=api.server.url, THROTTLE_STORAGE_URL=storage)
        assert refused_to_start(done).startswith("THROTTLE_STORAGE_URL: ")
