"""Migrations by `python -m userapi migrate`."""

import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.support.alembic import HEAD, alembic, sql
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, sync_engine
from tests.support.processes import refused_to_start
from tests.support.servers import serving


class TestMigrate:
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_server_refuses_a_schema_that_is_not_at_head(self, url: str, workers: str) -> None:
        alembic(url, "downgrade", "-1")
        done = command("serve", "--workers", workers, "--port", "0", url=url, MIGRATE_ON_START="false")
        assert "run python -m userapi migrate" in refused_to_start(done)

    @ON_SQLITE
    def test_schema_of_a_newer_version_is_refused_readably(self, url: str) -> None:
        sql(url, "UPDATE alembic_version SET version_num = '9999'")
        for args in (["migrate"], ["serve", "--port", "0"]):
            done = command(*args, url=url, MIGRATE_ON_START="true")
            assert "9999" in refused_to_start(done)


class TestPasswordInUrl:
    """A `%` in a URL is an escape; in Alembic's settings file it would be an interpolation, too."""

    PASSWORD = "p%41/w %s@;?#+"

    @pytest.fixture
    def role_url(self, kind: str, empty_url: str) -> Iterator[str]:
        if kind == "sqlite":
            pytest.skip("SQLite has no passwords")
        role = f"userapi_{secrets.token_hex(4)}"
        url = sa.make_url(empty_url)
        if kind == "postgresql":
            make = [
                f"CREATE ROLE {role} LOGIN PASSWORD '{self.PASSWORD}'",
                f"ALTER DATABASE {url.database} OWNER TO {role}",
            ]
            drop = [
                "ALTER DATABASE {0} OWNER TO CURRENT_USER",
                "REASSIGN OWNED BY {1} TO CURRENT_USER",
                "DROP ROLE {1}",
            ]
        else:
            make = [
                f"CREATE USER {role} IDENTIFIED BY '{self.PASSWORD}'",
                f"GRANT ALL ON {url.database}.* TO {role}",
            ]
            drop = ["DROP USER {1}"]
        engine = sync_engine(empty_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in make:
                connection.execute(sa.text(statement))
            yield url.set(username=role, password=self.PASSWORD).render_as_string(hide_password=False)
            for statement in drop:
                connection.execute(sa.text(statement.format(url.database, role)))
        engine.dispose()

    def test_percent_and_punctuation_survive(self, role_url: str) -> None:
        alembic(role_url, "upgrade", "head")
        assert command("migrate", url=role_url).stdout == f"The schema is at {HEAD} already\n"
        with serving(role_url) as server, server.client() as http:
            assert http.get("/health/ready").status_code == 200
            assert self.PASSWORD not in server.text
