"""Commits that fail, or of which nobody knows."""

import resource
from contextlib import closing

import pytest
import sqlalchemy as sa

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.databases import new_database, sync_engine
from tests.support.faults import LOGIN, assert_unavailable, assert_works, creation, timed
from tests.support.private_databases import PrivateServer
from tests.support.processes import children
from tests.support.proxy import Proxy
from tests.support.servers import serving


@pytest.mark.slow
class TestFailedCommit:
    """R6."""

    @pytest.mark.parametrize(
        "fault", ["RAISE EXCEPTION ''no''", "PERFORM pg_terminate_backend(pg_backend_pid())"], ids=["refused", "ended"]
    )
    def test_postgresql_fails_at_the_commit(self, private_api: Api, private_server: PrivateServer, fault: str) -> None:
        """R6."""
        if private_server.kind != "postgresql":
            pytest.skip("only PostgreSQL has deferred triggers")
        private_api.sql(
            f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {fault}; RETURN NULL; END'"
        )
        private_api.sql(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION at_commit()"
        )
        try:
            (reply,) = at_once(private_api.server, [creation(private_api, "alice")])
        finally:
            private_api.sql("DROP FUNCTION at_commit CASCADE")
        assert reply.status == (500 if "RAISE" in fault else 503), reply
        self._assert_not_made(private_api)

    def test_mariadb_cannot_commit(self, private_api: Api, private_server: PrivateServer) -> None:
        """R6."""
        if private_server.kind != "mysql":
            pytest.skip("a way to hold commits that only MariaDB has")
        with sync_engine(private_server.url, poolclass=sa.NullPool).connect() as backup:
            for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                backup.execute(sa.text(f"BACKUP STAGE {stage}"))
            replies, seconds = timed(lambda: at_once(private_api.server, [creation(private_api, "alice"), LOGIN]))
            backup.execute(sa.text("BACKUP STAGE END"))
        assert_unavailable(replies)
        assert seconds < 10
        self._assert_not_made(private_api)

    @pytest.mark.parametrize("cut", ["before", "after"])
    def test_the_connection_breaks_during_the_commit(
        self, private_server: PrivateServer, private_url: str, cut: str
    ) -> None:
        """R6."""
        proxy = Proxy(private_server.port)
        url = sa.make_url(private_url).set(port=proxy.port).render_as_string(hide_password=False)
        with closing(proxy), serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                assert api.admin.token  # logged in before the fault
                proxy.cut_commit(cut)
                assert_unavailable(at_once(server, [creation(api, "alice")]))
                made = api.sql("SELECT COUNT(*) FROM users WHERE username = 'alice'")[0][0]
                assert made == (1 if cut == "after" else 0)
                assert_works(api, "after")

    def test_sqlite_cannot_write_to_the_disk(self) -> None:
        """R6."""
        with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                assert api.admin.token  # logged in before the fault
                [pid] = children(server.process.pid)
                unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
                replies = at_once(server, [creation(api, f"lost{number}") for number in range(3)] + [LOGIN])
                assert {reply.status for reply in replies} == {503}, replies
                assert at_once(server, [Call("GET", "/users/me", api.admin.token)])[0].status == 200
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
                assert [row.username for row in api.sql("SELECT username FROM users")] == ["admin"]
                assert_works(api, "after")
                assert api.sql("PRAGMA integrity_check")[0][0] == "ok"

    @staticmethod
    def _assert_not_made(api: Api) -> None:
        assert api.sql("SELECT COUNT(*) FROM users WHERE username = 'alice'")[0][0] == 0
        assert_works(api, "after")
