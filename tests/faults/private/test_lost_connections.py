"""Connections that died unnoticed in the pool."""

from contextlib import suppress

import pytest
import sqlalchemy as sa

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.databases import sync_engine
from tests.support.faults import assert_works, creation, one_of_each
from tests.support.private_databases import PrivateServer
from tests.support.processes import wait_until


@pytest.mark.slow
class TestLostConnections:
    """R1: connections that died unnoticed in the pool."""

    def test_the_next_requests_after_a_crash_of_the_database_succeed(
        self, private_api: Api, private_server: PrivateServer
    ) -> None:
        """R1."""
        kinds = len(one_of_each(private_api, "x"))
        for number in range(kinds):
            self._fill_pools(private_api, f"before{number}")
            private_server.crash()
            private_server.start()
            # Each kind of request is the first once; then come more than one, to find what is left of the pools.
            (reply,) = at_once(private_api.server, [one_of_each(private_api, f"first{number}")[number]])
            assert reply.status in {200, 201}, (number, reply)
            for again in range(3):
                assert_works(private_api, f"after{number}_{again}")

    def test_connections_that_idled_too_long_are_replaced(
        self, private_api: Api, private_server: PrivateServer
    ) -> None:
        """R1."""
        if private_server.kind != "mysql":
            pytest.skip("only MySQL and MariaDB close idle connections by default")
        engine = sync_engine(private_server.url, poolclass=sa.NullPool)
        database = sa.make_url(private_api.server.url).database
        private_api.server.engine.dispose()

        def others() -> list[int]:
            """The service's connections; only those made from now on idle for a second."""
            with engine.connect() as connection:
                ids = sa.text("SELECT id FROM information_schema.processlist WHERE db = :db")
                return list(connection.execute(ids, {"db": database}).scalars())

        def set_timeout(seconds: int) -> None:
            with engine.connect() as connection:
                connection.execute(sa.text(f"SET GLOBAL wait_timeout = {seconds}"))

        set_timeout(1)
        try:
            with engine.connect() as connection:
                for number in others():
                    with suppress(sa.exc.OperationalError):  # it is one of the test's own, and has just ended
                        connection.execute(sa.text(f"KILL {number}"))
            for number in range(3):
                self._fill_pools(private_api, f"before{number}")
                wait_until(lambda: not others())
                assert_works(private_api, f"after{number}")
        finally:
            set_timeout(28800)

    @staticmethod
    def _fill_pools(api: Api, username: str) -> None:
        reads = [Call("GET", "/users", api.admin.token)] * 8
        writes = [creation(api, f"{username}_{number}") for number in range(8)]
        assert {reply.status for reply in at_once(api.server, [*reads, *writes])} == {200, 201}
