"""The login throttle: what wrong passwords cost, by a clock that is moved."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from tests.support.insides import Throttle
from tests.support.throttle import wait_asked


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

    @pytest.mark.parametrize("login", ["", "\0", "x" * 60_000, "\ud800", "a:b*c d\r\n"])
    def test_any_login_can_be_counted(self, login: str) -> None:
        """S12."""

        async def wait() -> int:
            throttle = Throttle()
            for _ in range(5):
                await throttle.fail(login, None)
            return await wait_asked(throttle, login)

        assert asyncio.run(wait()) == 30
