"""How long a refused login takes."""

import statistics
import time

import bcrypt
import httpx2 as httpx
import pytest

from tests.support.databases import SERVERS_IF_THOROUGH
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import serving
from tests.support.throttle import throttled

pytestmark = pytest.mark.alone


@SERVERS_IF_THOROUGH
class TestTime:
    """S7, S33: how long the answer takes tells nothing."""

    COUNT = 15
    TRIES = 4  # of the measurement: other load on the machine must not fail it, a difference would each time

    def test_unknown_wrong_and_inactive_take_the_same_time(self, url: str) -> None:
        """S7."""
        with throttled(url, BCRYPT_ROUNDS="8", THROTTLE_ENABLED="false") as api:
            for username in ("alice", "sleeper"):
                api.new_user(username)
            api.sql("UPDATE users SET is_active = false WHERE username = 'sleeper'")
            cases = [("nobody", PASSWORD), ("alice", WRONG_PASSWORD), ("sleeper", PASSWORD)]
            self.assert_alike(api.http, cases)

    @pytest.mark.parametrize("rounds", ["6", "9"], ids=["lowered", "raised"])
    def test_hash_of_another_cost_takes_the_same_time(self, url: str, rounds: str) -> None:
        """S33: of users that have not logged in since `BCRYPT_ROUNDS` was changed."""
        with throttled(url) as api:
            for cost in (6, 9):
                for username in (f"alice{cost}", f"sleeper{cost}"):
                    api.new_user(username)
                hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()
                api.sql(
                    "UPDATE users SET hashed_password = :hashed WHERE username LIKE :name",
                    hashed=hashed,
                    name=f"%{cost}",
                )
            api.sql("UPDATE users SET is_active = false WHERE username LIKE 'sleeper%'")
        with serving(url, BCRYPT_ROUNDS=rounds, THROTTLE_ENABLED="false") as server, server.client() as http:
            known = [(f"{name}{cost}", WRONG_PASSWORD) for cost in (6, 9) for name in ("alice", "sleeper")]
            self.assert_alike(http, [("nobody", PASSWORD), *known, ("sleeper6", PASSWORD), ("sleeper9", PASSWORD)])

    def assert_alike(self, http: httpx.Client, cases: list[tuple[str, str]]) -> None:
        ratios = []
        for _ in range(self.TRIES):
            medians = self._medians(http, cases)
            ratios.append(max(medians) / min(medians))
            if ratios[-1] < 1.2:
                return
        pytest.fail(f"the medians differ by these factors: {ratios}")

    def _medians(self, http: httpx.Client, cases: list[tuple[str, str]]) -> list[float]:
        seconds: list[list[float]] = [[] for _ in cases]
        for _ in range(self.COUNT):
            for (username, password), taken in zip(cases, seconds, strict=True):
                begun = time.perf_counter()
                answer = http.post("/token", data={"username": username, "password": password})
                taken.append(time.perf_counter() - begun)
                assert answer.status_code == 401
        return [statistics.median(taken) for taken in seconds]
