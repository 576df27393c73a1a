"""Locks that another session of the database holds."""

import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.support.client import Api
from tests.support.crowd import Crowd, Watch, at_once
from tests.support.databases import sync_engine
from tests.support.faults import assert_unavailable, assert_works, one_of_each, timed
from tests.support.people import bearer
from tests.support.processes import wait_until


@pytest.mark.slow
class TestLockedTable:
    """R3."""

    @pytest.fixture(params=["users", "login_sessions"])
    def locked(self, api: Api, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
        """A table is locked by another session until this is called."""
        statement = {
            "postgresql": f"LOCK TABLE {request.param} IN ACCESS EXCLUSIVE MODE",
            "mysql": f"LOCK TABLES {request.param} WRITE",
        }
        if api.kind not in statement:
            pytest.skip("SQLite has no table locks")
        assert api.admin.token  # logged in before the lock
        engine = sync_engine(api.server.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement[api.kind]))
            yield connection.invalidate
            connection.invalidate()

    def test_it_is_unavailable_until_the_lock_goes(self, api: Api, locked: Callable[[], None]) -> None:
        """R3."""
        with Watch(api.server) as live:
            calls = [call for number in range(5) for call in one_of_each(api, f"lost{number}")]
            replies, seconds = timed(lambda: at_once(api.server, calls))
            assert_unavailable(replies)
            assert seconds < 10 + max(live.seconds)
            locked()
            wait_until(lambda: api.http.get("/users/me", headers=bearer(api.admin.token)).is_success)
            assert_works(api, "after")
        live.assert_answered_within(3)

    def test_it_goes_on_when_the_lock_goes_in_time(self, api: Api, locked: Callable[[], None]) -> None:
        """R3."""
        crowd = Crowd(api.server, one_of_each(api, "waiting")).send()
        with Watch(api.server) as live:
            most = time.monotonic() + 2  # the service waits for 4 s
            wait_until(lambda: len(live.seconds) > 15 or time.monotonic() > most)
        locked()
        assert [reply.status for reply in crowd.replies()] == [200, 200, 200, 201, 200]
        live.assert_answered_within(3)
