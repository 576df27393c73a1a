"""A database server that is stopped, or that falls silent."""

import pytest

from tests.support.client import Api
from tests.support.crowd import Call, Crowd, Watch, at_once
from tests.support.faults import assert_unavailable, assert_works, one_of_each, timed
from tests.support.people import bearer
from tests.support.private_databases import PrivateServer
from tests.support.processes import wait_until


@pytest.mark.slow
class TestDatabaseDown:
    """R2."""

    def test_stopped_it_is_unavailable_and_heals_itself(self, private_api: Api, private_server: PrivateServer) -> None:
        """R2."""
        printed = len(private_api.server.text)
        assert_works(private_api, "before")
        with Watch(private_api.server) as live:
            with private_server.stopped():
                for _ in range(3):
                    replies, seconds = timed(lambda: at_once(private_api.server, one_of_each(private_api, "lost")))
                    assert_unavailable(replies)
                    assert seconds < 5
                ready = private_api.http.get("/health/ready")
                assert (ready.status_code, ready.json()["detail"]) == (503, "Not ready: database")
            assert_works(private_api, "after")
            assert private_api.http.get("/health/ready").status_code == 200
        live.assert_answered_within(3)
        assert "Traceback" not in private_api.server.text[printed:]
        assert private_api.sql("SELECT COUNT(*) FROM users WHERE username = 'lost'")[0][0] == 0

    def test_frozen_it_is_unavailable_and_heals_itself(self, private_api: Api, private_server: PrivateServer) -> None:
        """R2."""
        printed = len(private_api.server.text)
        assert_works(private_api, "before")
        with Watch(private_api.server) as live:
            with private_server.frozen():
                asked = Crowd(private_api.server, [Call("GET", "/health/ready"), *one_of_each(private_api, "lost")])
                (ready, *replies), seconds = timed(lambda: list(asked.send().replies()))
                assert_unavailable(replies)
                assert seconds < 10 + max(live.seconds)
                assert (ready.status, ready.body["detail"]) == (503, "Not ready: database")
                # A second time, with whatever the first one left behind; more of them than the pools hold.
                more = [call for number in range(5) for call in one_of_each(private_api, f"lost{number}")]
                replies, seconds = timed(lambda: at_once(private_api.server, more))
                assert_unavailable(replies)
                assert seconds < 10 + max(live.seconds)
            wait_until(lambda: private_api.http.get("/users/me", headers=bearer(private_api.admin.token)).is_success)
            assert_works(private_api, "after")
            assert private_api.http.get("/health/ready").status_code == 200
        live.assert_answered_within(3)
        assert "Traceback" not in private_api.server.text[printed:]
