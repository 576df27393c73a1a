"""The login throttle: what wrong passwords cost, by a clock that is moved."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.databases import sync_engine
from tests.support.insides import (
    Database,
    FairQueue,
    Throttle,
    guards,
    known_devices,
    now,
    strangers,
)
from tests.support.schema import insert_admin
from tests.support.throttle import Clock, fail, wait_asked


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestRules:
    """S6, by a clock that is moved."""

    def test_fifth_failure_locks_for_30_s_and_each_further_one_twice_as_long_to_15_min(self, clock: Clock) -> None:
        """S6."""

        async def locks() -> list[int]:
            throttle, found = Throttle(clock=clock), []
            for _ in range(12):
                await fail(throttle, "alice")
                found.append(await wait_asked(throttle, "alice"))
                clock.seconds += found[-1]
                assert await wait_asked(throttle, "alice") == 0  # it has expired
            return found

        assert asyncio.run(locks()) == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]

    def test_lock_holds_until_its_last_second(self, clock: Clock) -> None:
        """S6."""

        async def waits() -> list[int]:
            throttle, found = Throttle(clock=clock), []
            for _ in range(5):
                await fail(throttle, "alice")
            for seconds in (0.5, 10, 19, 0.4):
                clock.seconds += seconds
                found.append(await wait_asked(throttle, "alice"))
            clock.seconds += 0.2
            return [*found, await wait_asked(throttle, "alice")]

        assert asyncio.run(waits()) == [30, 20, 1, 1, 0]

    @pytest.mark.parametrize(("later", "lock"), [(-1, 30), (0, 0)])
    def test_failures_count_for_90_days_from_the_first(self, clock: Clock, later: int, lock: int) -> None:
        """S6."""

        async def wait() -> int:
            throttle = Throttle(clock=clock)
            await fail(throttle, "alice")
            clock.seconds += 90 * 24 * 3600 + later
            for _ in range(4):
                await fail(throttle, "alice")
            return await wait_asked(throttle, "alice")

        assert asyncio.run(wait()) == lock

    def test_at_most_100_tries_of_one_account_in_a_week_by_any_mixture(self, clock: Clock, url: str) -> None:
        """S6, S30: NIST SP 800-63B-4 section 3.2.2; strangers, known devices and current passwords together."""
        start = now()

        async def tries() -> list[int]:
            database, throttle = Database(url), Throttle(clock=clock)
            budgets, counts, begun = [strangers(1, "alice"), known_devices(1)], [0, 0, 0], clock.seconds
            while clock.seconds < begun + 7 * 24 * 3600:
                told = []
                for number, budget in enumerate(budgets):
                    while not (wait := await throttle.wait(budget)):
                        await throttle.fail(budget, None)
                        counts[number] += 1
                    told.append(wait)
                at = start + timedelta(seconds=clock.seconds - begun)
                while not (wait := await database.write(guards.guess, 1, at)):
                    counts[2] += 1
                clock.seconds += max(1, min(*told, wait) // 2)  # it believes no wait that it is told
            await database.close()
            return counts

        with sync_engine(url, poolclass=sa.NullPool).begin() as connection:
            insert_admin(connection)
        counts = asyncio.run(tries())
        assert min(counts) >= 20
        assert sum(counts) <= 100

    def test_lock_of_current_passwords_holds_until_its_last_second(self, url: str) -> None:
        """S6, S15."""
        start = now()

        async def waits() -> list[int]:
            database = Database(url)
            times = [*[0.0] * 10, 0, 899.2, 900]
            found = [await database.write(guards.guess, 1, start + timedelta(seconds=at)) for at in times]
            await database.close()
            return found

        with sync_engine(url, poolclass=sa.NullPool).begin() as connection:
            insert_admin(connection)
        assert asyncio.run(waits()) == [0] * 10 + [901, 1, 0]

    def test_success_clears_the_account(self, clock: Clock) -> None:
        async def waits() -> list[int]:
            throttle, found = Throttle(clock=clock), []
            for failures in (4, 4, 5):
                for _ in range(failures):
                    await fail(throttle, "alice", "192.0.2.1")
                found.append(await wait_asked(throttle, "alice"))
                await throttle.forgive(strangers(None, "alice").key)
                found.append(await wait_asked(throttle, "alice"))
            return found

        assert asyncio.run(waits()) == [0, 0, 0, 0, 30, 0]

    def test_account_is_one_in_any_letter_case(self) -> None:
        """S5."""

        async def waits() -> list[int]:
            throttle = Throttle()
            for login in ("alice", "ALICE", "Alice", "aLICE", "alicE"):
                await fail(throttle, login)
            return [await wait_asked(throttle, login) for login in ("AliCE", "alicia", "alice ")]

        assert asyncio.run(waits()) == [30, 0, 0]

    def test_hundredth_failure_of_an_address_locks_it_for_the_rest_of_15_min(self, clock: Clock) -> None:
        """S6: whoever it tries, and cleared by time only."""

        async def waits() -> list[int]:
            throttle, found = Throttle(clock=clock), []
            for number in range(100):
                found.append(await wait_asked(throttle, "alice", "192.0.2.1"))
                await fail(throttle, f"user{number}", "192.0.2.1")
                clock.seconds += 1
            assert found == [0] * 100
            found = [await wait_asked(throttle, "alice", "192.0.2.1")]
            await throttle.forgive(strangers(None, "alice").key)
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
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("2002:c000:0201::1", "192.0.2.1", True),
            ("64:ff9b::c000:201", "192.0.2.1", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("64:ff9b::c000:201", "64:ff9b::c000:202", False),
            ("127.0.0.1", "127.0.0.1", False),
            ("::ffff:127.0.0.1", "::1", False),
            ("198.51.100.7", "198.51.100.7", False),
        ],
    )
    def test_ipv6_addresses_count_by_the_household(self, one: str, other: str, same: bool) -> None:
        async def wait() -> int:
            throttle = Throttle(proxies="198.51.100.0/24")
            for number in range(100):
                await fail(throttle, f"user{number}", one)
            return await wait_asked(throttle, "alice", other)

        assert bool(asyncio.run(wait())) is same

    @pytest.mark.parametrize("login", ["", "\0", "x" * 60_000, "\ud800", "a:b*c d\r\n"])
    def test_any_login_can_be_counted(self, login: str) -> None:
        """S12."""

        async def wait() -> int:
            throttle = Throttle()
            for _ in range(5):
                await fail(throttle, login)
            return await wait_asked(throttle, login)

        assert asyncio.run(wait()) == 30


class TestFairQueue:
    """S28."""

    def served(self, arrivals: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Let these arrive at once while one turn is taken; return them in the order of their turns."""

        async def order() -> list[tuple[str, ...]]:
            queue, found = FairQueue(1, 1000), []

            async def wait(parties: tuple[str, ...]) -> None:
                async with queue.turn(*parties):
                    found.append(parties)

            async with queue.turn("first"):
                waiting = [asyncio.ensure_future(wait(parties)) for parties in arrivals]
                await asyncio.sleep(0)
            await asyncio.gather(*waiting)
            return found

        return asyncio.run(order())

    def test_newcomer_waits_for_one_of_each_other(self) -> None:
        """S28."""
        flood = [("flood", f"account{number}") for number in range(100)]
        assert self.served([*flood, ("honest",)]).index(("honest",)) <= 1

    def test_account_that_many_addresses_try_leaves_others_their_turn(self) -> None:
        """S28."""
        flood = [(f"address{number}", "alice") for number in range(100)]
        assert self.served([*flood, ("elsewhere", "bob")]).index(("elsewhere", "bob")) <= 1

    def test_party_holds_a_quarter(self) -> None:
        """S28."""

        async def held() -> int:
            queue, count = FairQueue(1, 100), 0
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(queue.turn("first"))
                tasks = []
                for number in range(60):
                    task = asyncio.ensure_future(stack_of(queue, "flood", f"account{number}"))
                    await asyncio.sleep(0)
                    if not task.done():
                        tasks.append(task)
                    else:
                        assert task.exception()
                count = len(tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert not queue._present["flood"]
            async with asyncio.timeout(1), queue.turn("flood"):
                return count

        async def stack_of(queue: FairQueue, *parties: str) -> None:
            async with queue.turn(*parties):
                pass

        assert asyncio.run(held()) == 25
