"""The login throttle under a flood of names: what it takes of memory and of time."""

import asyncio
import gc
import time

from tests.support.insides import MOST, LocalCounters, Throttle, strangers
from tests.support.throttle import Clock

PART = 1_000  # names of a flood that are timed together


class TestMemory:
    """S31."""

    def test_counters_have_a_bound_and_the_oldest_go(self) -> None:
        """S31: and names of nobody crowd out no user."""
        clock = Clock()

        async def flood() -> None:
            counters = LocalCounters(clock)
            await counters.add("users/1", 60)
            for number in range(200_000):
                await counters.add(f"names/{number}", 60)
            assert len(counters) == MOST + 1
            assert await counters.left("names/199999", 1) == 60
            assert await counters.left(f"names/{200_000 - MOST - 1}", 1) == 0
            assert await counters.left("users/1", 1) == 60
            clock.seconds += 60
            assert await counters.left("users/1", 1) == 0

        asyncio.run(flood())

    def test_flood_of_names_holds_the_loop_for_no_time(self) -> None:
        """S31: a full memory costs no more than an empty one, so nothing in it looks at all of them."""

        async def slowest() -> tuple[float, float, float]:
            throttle, worst, totals = Throttle(), 0.0, []
            for part in range(2 * MOST // PART):
                total = 0.0
                for number in range(part * PART, (part + 1) * PART):
                    begun = time.thread_time()
                    await throttle.fail(strangers(None, f"user{number}"), f"2001:db8:{number:x}::1")
                    worst = max(worst, taken := time.thread_time() - begun)
                    total += taken
                totals.append(total)
                await asyncio.sleep(0)
            return worst, totals[0], min(totals[-3:])

        gc.collect()
        gc.freeze()  # what other tests left is not to be looked through in this one
        try:
            worst, empty, full = asyncio.run(slowest())
        finally:
            gc.unfreeze()
        assert worst < 0.1
        assert full < 5 * empty
