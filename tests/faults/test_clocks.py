"""Clocks that are wrong: of hosts that differ, and one that jumps. The service's processes run with libfaketime."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.alembic import sql
from tests.support.databases import ON_SQLITE, skip_without
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.servers import Server, serving

LIBRARY = next(Path("/usr").glob("lib/*/faketime/libfaketime.so.1"), None)


class Clock:
    """The clock of one host; what is written to its file moves it."""

    def __init__(self, folder: Path) -> None:
        if LIBRARY is None:
            skip_without("faketime", "there is no libfaketime")
        self._file = folder / "clock"
        self.set("+0")
        self.settings: Any = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, shift: str) -> None:
        """Let it differ from the true time: `+30s`, `-1h`, `+40d`."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{shift}\n")
        new.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@contextmanager
def host(url: str, clock: Clock) -> Iterator[Server]:
    with serving(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD, **clock.settings) as server:
        yield server


def log_in(server: Server, password: str = ADMIN_PASSWORD) -> Any:
    with server.client() as http:
        return http.post("/token", data={"username": "admin", "password": password})


def renew(server: Server, pair: Any) -> Any:
    with server.client() as http:
        return http.post("/token", data={"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]})


def status(server: Server, pair: Any) -> int:
    with server.client() as http:
        return http.get("/users/me", headers=bearer(pair["access_token"])).status_code


class TestHostsThatDiffer:
    """R19."""

    @pytest.mark.parametrize("shift", ["+30s", "-30s"])
    def test_accept_each_others_fresh_tokens(self, url: str, clock: Clock, shift: str) -> None:
        """R19."""
        clock.set(shift)
        with host(url, clock) as wrong, serving(url) as right:
            for here, there in [(wrong, right), (right, wrong)] * 3:
                pair = log_in(here).json()
                assert [status(there, pair), status(here, pair)] == [200, 200]
                renewed = renew(there, pair)
                assert renewed.status_code == 200
                assert [status(here, renewed.json()), status(there, renewed.json())] == [200, 200]


@ON_SQLITE
class TestClockThatJumps:
    """R19."""

    def test_an_hour_back_keeps_tokens_good_and_locks_right(self, url: str, clock: Clock) -> None:
        """R19."""
        with host(url, clock) as server, server.client() as http:
            pair = log_in(server).json()
            wrong = {"password": "Zk4m-Correct-8y", "current_password": "Wrong-Guess-1"}
            for _ in range(11):
                guess = http.patch("/users/me", json=wrong, headers=bearer(pair["access_token"]))
            assert guess.status_code == 429
            for _ in range(6):
                stranger = log_in(server, "Wrong-Guess-1")
            locked_for = int(stranger.headers["retry-after"]) if stranger.status_code == 429 else 0
            clock.set("-1h")
            assert status(server, pair) == 200
            assert renew(server, pair).status_code == 200
            guess = http.patch("/users/me", json=wrong, headers=bearer(pair["access_token"]))
            assert guess.status_code == 429
            assert int(guess.headers["retry-after"]) <= 15 * 60 + 31
            stranger = log_in(server, "Wrong-Guess-1")
            assert int(stranger.headers.get("retry-after", 0)) <= locked_for

    def test_40_days_ahead_deletes_no_session(self, url: str, clock: Clock) -> None:
        """R19."""
        with host(url, clock) as server:
            pairs = [log_in(server).json() for _ in range(5)]
            clock.set("+40d")
            for _ in range(3):
                assert log_in(server).status_code == 200
            assert status(server, pairs[0]) == 401  # as long as it lasts
            assert sql(url, "SELECT count(*) FROM login_sessions") == [(8,)]
            clock.set("+0")
            assert [status(server, pair) for pair in pairs] == [200] * 5
            assert log_in(server).status_code == 200
            assert sql(url, "SELECT count(*) FROM login_sessions") == [(9,)]

    def test_that_stays_ahead_is_believed_after_a_day(self, url: str, clock: Clock) -> None:
        """R19: or a service that was quiet for long would never forget a session."""
        with host(url, clock) as server:
            log_in(server)
            for hours, there in [
                (960, 2),
                (961, 3),
                (983, 4),
                (985, 4),
            ]:  # the last forgets the first, and is a new one
                clock.set(f"+{hours}h")
                assert log_in(server).status_code == 200
                assert sql(url, "SELECT count(*) FROM login_sessions") == [(there,)], hours
