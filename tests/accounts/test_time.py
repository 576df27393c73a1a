"""How long answers take that must not tell which accounts exist."""

import statistics
import time
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from tests.support.client import Api, client_of
from tests.support.databases import SERVERS_IF_THOROUGH
from tests.support.people import PASSWORD
from tests.support.processes import wait_until
from tests.support.servers import serving

pytestmark = pytest.mark.alone

COUNT = 20
TRIES = 4  # of the measurement: other load on the machine must not fail it, a difference would each time


@pytest.fixture
def settings(tmp_path: Any) -> dict[str, str]:
    return {
        "MAIL_URL": f"file://{tmp_path}",
        "EMAIL_VERIFICATION": "required",
        "REGISTRATION_ENABLED": "true",
        "BCRYPT_ROUNDS": "4",
        "PASSWORD_MIN_SCORE": "0",
    }


def assert_alike(api: Api, cases: list[Callable[[int], tuple[str, dict[str, str]]]]) -> None:
    """Check that the medians of 20 requests of each case, made in turn, are within 20 % of each other.

    The mail of one is sent before the next, which may else wait for that. What the service does when it has sent one
    the next may wait for all the same, so in each round they come in another order. And whoever comes after a pause, as
    there is while a mail is sent, takes a third longer, so there are others right before each.
    """
    ratios, number, orders = [], 0, list(permutations(range(len(cases))))
    for _ in range(TRIES):
        seconds: list[list[float]] = [[] for _ in cases]
        for _ in range(COUNT):
            number += 1
            for which in orders[number % len(orders)]:
                path, body = cases[which](number)
                for _ in range(10):
                    api.http.get("/health/live")
                begun = time.perf_counter()
                answer = api.http.post(path, json=body)
                seconds[which].append(time.perf_counter() - begun)
                assert answer.status_code == 202, answer.text
                wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL") == [(0,)])
        medians = [statistics.median(taken) for taken in seconds]
        ratios.append(max(medians) / min(medians))
        if ratios[-1] < 1.2:
            return
    pytest.fail(f"the medians differ by these factors: {ratios}")


@SERVERS_IF_THOROUGH
class TestTime:
    """S7: unknown and known, and for those who are known whatever they are."""

    def test_of_forgotten_passwords(self, url: str, settings: dict[str, str]) -> None:
        """S7."""
        with (
            serving(url, FIRST_ADMIN_PASSWORD=PASSWORD, THROTTLE_ENABLED="false", **settings) as server,
            client_of(server) as api,
        ):
            api.sql("UPDATE users SET email_verified_at = created_at")
            for number in range(1, COUNT * TRIES + 1):
                api.new_user(f"known{number}", email_verified=True)
            api.new_user("idle")
            api.sql("UPDATE users SET is_active = false WHERE username = 'idle'")
            wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL") == [(0,)])

            def case(name: str) -> Callable[[int], tuple[str, dict[str, str]]]:
                return lambda number: ("/password/forgot", {"login": name.format(number)})

            # Each `known` gets a mail, and none when it asks again by its address.
            assert_alike(api, [case(name) for name in ("nobody{}", "known{}", "idle")])
            assert_alike(api, [case(f"{name}@example.com") for name in ("nobody{}", "known{}")])

    def test_of_registrations(self, url: str, settings: dict[str, str]) -> None:
        """S7: of an address that has an account, and one that has none."""
        with (
            serving(url, FIRST_ADMIN_PASSWORD=PASSWORD, THROTTLE_ENABLED="false", **settings) as server,
            client_of(server) as api,
        ):
            api.sql("UPDATE users SET email_verified_at = created_at")
            for number in range(1, COUNT * TRIES + 1):
                api.new_user(f"known{number}", email_verified=True)

            def case(letter: str, address: str) -> Callable[[int], tuple[str, dict[str, str]]]:
                def body(number: int) -> tuple[str, dict[str, str]]:
                    email = f"{address}{number}@example.com"
                    return "/register", {"username": f"{letter}{number}", "email": email, "password": PASSWORD}

                return body

            assert_alike(api, [case("new", "other"), case("again", "known")])
            bodies = {api.http.post("/register", json=case("x" + name, name)(1)[1]).text for name in ("one", "known")}
            assert len(bodies) == 1
            wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL") == [(0,)])
            kinds = api.sql("SELECT DISTINCT kind FROM outbox WHERE recipient LIKE 'known1@%'")
            assert ("already_registered",) in kinds
            assert ("verify_email",) not in kinds
