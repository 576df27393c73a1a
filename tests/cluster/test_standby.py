"""A primary and its standby, a server that becomes read-only, a network that falls silent (R14-R16)."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from tests.support.client import Api
from tests.support.clusters import Primary, Standby, replicated, url_of
from tests.support.crowd import Call, Watch, at_once
from tests.support.databases import SERVERS, new_database, skip_without, sync_engine, url_at
from tests.support.faults import assert_unavailable, assert_works, creation, one_of_each, timed
from tests.support.insides import Database, Settings
from tests.support.people import PASSWORD
from tests.support.private_databases import AbsentError, PrivateServer
from tests.support.processes import SECRET_KEY, wait_until
from tests.support.proxy import Proxy
from tests.support.schema import migrate
from tests.support.servers import Server, serving
from tests.support.writers import Writers

log = logging.getLogger(__name__)

SETTINGS = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false"}


@dataclass
class Pair:
    """A primary and its standby, a service that knows both, and its client."""

    primary: Primary
    standby: Standby
    service: Server
    api: Api

    def promote(self) -> None:
        """Make the standby the primary; the tests look there from now on."""
        self.standby.promote()
        self.service.engine.dispose()
        self.service.url = url_at(self.standby.url, "postgresql:///users")
        del self.service.engine

    def ready(self) -> str:
        answer = self.api.http.get("/health/ready")
        return "" if answer.is_success else answer.json()["detail"]


@pytest.fixture
def couple() -> Iterator[tuple[Primary, Standby]]:
    """A primary and its standby."""
    try:
        with replicated() as found:
            yield found
    except AbsentError as absent:
        skip_without("postgresql", str(absent))


@pytest.fixture
def pair(couple: tuple[Primary, Standby]) -> Iterator[Pair]:
    """A primary and its standby, with a service that knows both."""
    primary, standby = couple
    with serving(url_of(primary, standby), **SETTINGS) as service:
        service.url = url_at(primary.url, "postgresql:///users")
        with closing(Api(service)) as api:
            assert api.admin.token
            yield Pair(primary, standby, service, api)


@pytest.mark.slow
class TestSwitch:
    """R14, R15."""

    def test_primary_crashes_under_load(self, pair: Pair) -> None:
        """R14: what was acknowledged is on the standby, errors are 503, and all goes on once it is the primary."""
        with Writers([pair.service] * 4, pair.api.admin.token) as writers:
            wait_until(lambda: len(writers.acknowledged) > 30)
            pair.primary.crash()
            before = len(writers.acknowledged)
            pair.promote()
            wait_until(lambda: len(writers.acknowledged) > before + 30, 30)
        log.info("primary crashed, standby promoted: %s", writers)
        assert set(writers.statuses) <= {201, 503}, writers.statuses
        there = {row.username for row in pair.api.sql("SELECT username FROM users")}
        assert set(writers.acknowledged) <= there
        assert_works(pair.api, "after")
        assert "Traceback" not in pair.service.text

    def test_primary_becomes_read_only_and_keeps_its_connections(self, pair: Pair) -> None:
        """R15: it is unavailable for writes and not ready; the first write after the switch succeeds."""
        assert_works(pair.api, "before")
        assert pair.ready() == ""
        pair.primary.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        pair.primary.sql("SELECT pg_reload_conf()")
        wait_until(lambda: pair.ready() != "")
        assert_unavailable(at_once(pair.service, [creation(pair.api, f"lost{number}") for number in range(8)]))
        assert pair.ready() == "Not ready: database"
        pair.promote()
        [reply] = at_once(pair.service, [creation(pair.api, "first")])
        assert reply.status == 201, reply
        assert pair.ready() == ""
        assert_works(pair.api, "after")
        assert "Traceback" not in pair.service.text


@pytest.mark.slow
def test_every_form_of_a_url(couple: tuple[Primary, Standby], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R15: as libpq takes them."""
    primary, standby = couple
    ports, place = (primary.port, standby.port), f"127.0.0.1:{primary.port}"
    (tmp_path / "pass").write_text(f"127.0.0.1:{primary.port}:users:postgres:secret\n")
    (tmp_path / "pass").chmod(0o600)
    (tmp_path / "services").write_text(f"[mine]\nhost=127.0.0.1\nport={ports[0]}\nuser=postgres\ndbname=users\n")
    folder = str(primary.folder).replace("/", "%2F")
    urls = [
        f"postgresql://postgres:any@127.0.0.1:{ports[1]},127.0.0.1:{ports[0]}/users",
        f"postgresql://postgres@127.0.0.1:{ports[1]},127.0.0.1:{ports[0]}/users?target_session_attrs=primary",
        f"postgresql://postgres@/users?host=127.0.0.1,127.0.0.1&port={ports[1]},{ports[0]}",
        f"postgresql://postgres@/users?host=127.0.0.1:{ports[1]}&host={place}",
        f"postgresql:///users?host=127.0.0.1&port={ports[0]}&user=postgres",
        f"postgresql://postgres@{folder}:{ports[0]}/users",
        f"postgresql:///users?host={primary.folder}&port={ports[0]}&user=postgres",
        f"postgresql://postgres@{place}/users?passfile={tmp_path}/pass",
        f"postgresql://postgres@{place}/users?options=-c%20statement_timeout%3D2s&application_name=userapi",
        "postgresql:///?service=mine",
    ]
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert {url: asyncio.run(_writes(url)) for url in urls} == dict.fromkeys(urls, True)


async def _writes(url: str) -> bool:
    """Whether the settings let a URL through, and lead to a server that takes changes."""
    database = Database(Settings(_env_file=None, database_url=url, secret_key=SecretStr(SECRET_KEY)).url)
    try:
        read_only = sa.text("SHOW transaction_read_only")
        return await database.write(lambda db: db.connection().execute(read_only).scalar_one() == "off")
    finally:
        await database.close()


class TestReadOnly:
    """R15."""

    def test_mariadb_becomes_read_only_and_keeps_its_connections(self, private_server: PrivateServer) -> None:
        """R15: for a user without privileges of an administrator, as operators should make one."""
        if private_server.kind != "mysql":
            pytest.skip("PostgreSQL has a test of its own")
        admin = sync_engine(private_server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

        def execute(statement: str) -> None:
            with admin.connect() as connection:
                connection.execute(sa.text(statement))

        with new_database("mysql", private_server.url) as url:
            migrate(url)
            execute("CREATE USER userapi@'127.0.0.1'")
            execute(f"GRANT ALL ON {sa.make_url(url).database}.* TO userapi@'127.0.0.1'")
            plain = sa.make_url(url).set(username="userapi").render_as_string(hide_password=False)
            try:
                with serving(plain, **SETTINGS) as service:
                    service.url = url
                    with closing(Api(service)) as api:
                        assert_works(api, "before")
                        execute("SET GLOBAL read_only = 1")
                        assert_unavailable(at_once(service, [creation(api, f"lost{number}") for number in range(8)]))
                        assert api.http.get("/health/ready").json()["detail"] == "Not ready: database"
                        execute("SET GLOBAL read_only = 0")
                        [reply] = at_once(service, [creation(api, "first")])
                        assert reply.status == 201, reply
                        assert api.http.get("/health/ready").is_success
                        assert "Traceback" not in service.text
            finally:
                execute("SET GLOBAL read_only = 0")
                execute("DROP USER userapi@'127.0.0.1'")


@pytest.mark.slow
class TestSilentNetwork:
    """R16."""

    @pytest.mark.parametrize("kind", list(SERVERS), indirect=True, scope="session")
    @pytest.mark.usefixtures("kind")
    def test_answers_come_within_nine_seconds(self, url: str) -> None:
        """R16: reads and writes, with the connections there were and with new ones; then it heals itself."""
        parsed = sa.make_url(url)
        proxy = Proxy(parsed.port or 0)
        address = parsed.set(port=proxy.port).render_as_string(hide_password=False)
        with closing(proxy), serving(address, **SETTINGS) as service:
            service.url = url
            with closing(Api(service)) as api:
                assert_works(api, "before")
                proxy.fall_silent()
                for _ in range(2):
                    with Watch(service) as live:
                        replies, seconds = timed(lambda: at_once(service, one_of_each(api, "lost")))
                    assert_unavailable(replies)
                    live.assert_answered_within(3)
                    assert seconds < 9 + max(live.seconds)  # by which the machine holds up whatever it is
                proxy.speak_again()
                begun = time.monotonic()
                wait_until(lambda: at_once(service, [Call("GET", "/users/me", api.admin.token)])[0].status == 200)
                assert time.monotonic() - begun < 10
                assert_works(api, "after")
                assert PASSWORD not in service.text
