"""How long a refused login takes."""

import statistics
import time

import pytest

from tests.support.client import Api
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.throttle import log_in, throttled

pytestmark = pytest.mark.alone


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
        cases = [("nobody", PASSWORD), ("alice", WRONG_PASSWORD), ("sleeper", PASSWORD)]
        seconds: list[list[float]] = [[] for _ in cases]
        for _ in range(self.COUNT):
            for (username, password), taken in zip(cases, seconds, strict=True):
                begun = time.perf_counter()
                answer = log_in(api, username, password)
                taken.append(time.perf_counter() - begun)
                assert answer.status_code == 401
        return [statistics.median(taken) for taken in seconds]
