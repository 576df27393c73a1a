"""Workers that die while the database is away."""

import os
import signal

from tests.support.client import client_of
from tests.support.faults import assert_works
from tests.support.private_databases import PrivateServer
from tests.support.processes import children, wait_until
from tests.support.servers import serving


class TestDatabaseAway:
    """R18."""

    def test_a_killed_worker_comes_back_when_it_can(self, private_server: PrivateServer, private_url: str) -> None:
        """R18."""
        with (
            serving(private_url, "--workers", "2", FIRST_ADMIN_PASSWORD="Not-Used-1") as server,
            client_of(server) as api,
        ):
            wait_until(lambda: server.text.count("Application startup complete") == 2)
            assert api.admin.token
            before = set(children(server.process.pid))
            with private_server.stopped():
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                wait_until(lambda: server.text.count("ended with exit code 3") >= 2, 60)
                assert server.process.poll() is None
            wait_until(lambda: server.text.count("Application startup complete") == 4, 60)
            assert_works(api, "after")
            assert server.stop() == 0
