"""Migrations by `python -m userapi migrate`."""

import asyncio
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.alembic import HEAD, REVISIONS, alembic, copy, make_rows, sql, tables
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, serializable, sync_engine
from tests.support.insides import Database, migrations, revisions
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import ROOT, environment, refused_to_start, run, wait_until
from tests.support.schema import migration_lock, waiting_for_migration
from tests.support.servers import serving

__all__ = ["copy"]

ON_MYSQL = pytest.mark.parametrize("kind", ["mysql"], indirect=True, scope="session")


class TestMigrate:
    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
    def test_loser_of_a_deadlock_tries_again(self, url: str) -> None:
        """R11: on MySQL each statement is tried again by itself."""
        engine, runs = sync_engine(url, poolclass=sa.NullPool), list[int]()

        def compete() -> None:
            other.exec_driver_sql("LOCK TABLE users")
            other.rollback()

        def work(connection: sa.Connection) -> None:
            runs.append(1)
            connection.exec_driver_sql("LOCK TABLE users")
            if len(runs) == 1:
                waiter.start()
                waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
                wait_until(lambda: sql(url, waits))
                connection.exec_driver_sql("LOCK TABLE login_sessions")

        async def change() -> None:
            database = Database(url)
            await migrations.change(database, work)
            await database.close()

        with engine.connect() as other:
            other.exec_driver_sql("SET deadlock_timeout = '1min'")  # whoever looks for a deadlock first gives way
            other.exec_driver_sql("LOCK TABLE login_sessions")
            waiter = threading.Thread(target=compete)
            asyncio.run(change())
            waiter.join()
        assert len(runs) == 2

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_server_refuses_a_schema_that_is_not_at_head(self, url: str, workers: str) -> None:
        alembic(url, "downgrade", "-1")
        done = command("serve", "--workers", workers, "--port", "0", url=url, MIGRATE_ON_START="false")
        assert "run python -m userapi migrate" in refused_to_start(done)

    def test_users_made_while_it_looks_are_no_strangers(self, empty_url: str) -> None:
        """R10: another process migrates the same empty database."""
        engine = sync_engine(empty_url)
        looks: list[str] = []

        @sa.event.listens_for(engine, "before_cursor_execute")
        def migrated(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
            if "users" in f"{statement} {parameters}":
                looks.append(statement)
                if len(looks) == 2:
                    alembic(empty_url, "upgrade", "head")

        with engine.connect() as connection:
            migrations.require_ours(connection)
            connection.rollback()
            assert migrations.is_ours(connection)
        engine.dispose()

    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")
    def test_those_that_wait_for_another_see_what_it_did(self, empty_url: str) -> None:
        """R10: also where a transaction sees, by the server's default, only what was so when it began."""
        url = serializable(empty_url)
        with ThreadPoolExecutor(3) as pool:
            with migration_lock(url):
                waiting = [pool.submit(run, "userapi", "migrate", url=url) for _ in range(3)]
                wait_until(lambda: waiting_for_migration(url) == 3)
            done = [each.result() for each in waiting]
        assert [each.returncode for each in done] == [0] * 3, "".join(each.stderr for each in done)
        assert sql(url, "SELECT version_num FROM alembic_version") == [(HEAD,)]

    @ON_SQLITE
    def test_schema_of_a_newer_version_is_refused_readably(self, url: str) -> None:
        sql(url, "UPDATE alembic_version SET version_num = '9999'")
        for args in (["migrate"], ["serve", "--port", "0"]):
            done = command(*args, url=url, MIGRATE_ON_START="true")
            assert "9999" in refused_to_start(done)


class TestRevisions:
    def test_are_read_as_alembic_reads_them(self) -> None:
        before = [*REVISIONS[1:], None]
        assert revisions.known() == dict(zip(REVISIONS, before, strict=True))
        assert revisions.head() == HEAD
        assert [other for other in REVISIONS if revisions.is_older(other, REVISIONS[1])] == REVISIONS[2:]

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("last", "wrong"),
        [
            (
                'revision = "0003"\ndown_revision = "0001"',
                "must end in one revision, not in 0002 and 0003",
            ),
            ('revision = "0001"\ndown_revision = "0002"', "must end in one revision, not in none"),
            ('revision = "0003"\ndown_revision = ("0001", "0002")', "the migration 0003_x.py must say its revision"),
            ('down_revision = "0002"', "the migration 0003_x.py must say its revision"),
        ],
    )
    def test_that_are_no_chain_are_refused(self, last: str, wrong: str, copy: Path, empty_url: str) -> None:
        folder = copy / "alembic" / "versions"
        for file in folder.iterdir():
            file.unlink()
        (folder / ".#0003_x.py").symlink_to("an editor's lock")
        (folder / "0001_x.py").write_text('revision: str = "0001"\ndown_revision: str | None = None  # the first\n')
        (folder / "0002_x.py").write_text('"""x\n\nrevision = [\n"""\n\nrevision = "0002"\ndown_revision = "0001"\n')
        (folder / "0003_x.py").write_text(f"{last}\n")
        refused = run("userapi", "migrate", url=empty_url, cwd=copy, fresh=True)
        assert wrong in refused_to_start(refused)

    @ON_SQLITE
    def test_need_no_alembic_to_serve_a_schema_at_head(self, url: str) -> None:
        program = "import sys; from userapi import worker; worker.prepare('', alone=True); print(*sys.modules)"
        settings = environment(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD)
        said = subprocess.check_output([sys.executable, "-c", program], env=settings, cwd=ROOT, text=True)
        loaded = said.splitlines()[-1].split()
        assert "userapi.schema.migrations" in loaded
        assert [name for name in loaded if name.partition(".")[0] in {"alembic", "mako"}] == []


class TestBrokenOff:
    """MySQL and MariaDB commit each statement of a migration."""

    @ON_MYSQL
    def test_it_is_resumed_whatever_was_done(self, empty_url: str) -> None:
        """R7: it is ended after each statement once."""
        seen: set[str] = set()

        def end(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
            changes = statement.strip().startswith(("CREATE", "ALTER", "DROP", "DELETE"))
            if changes and connection.engine.url.database == database and statement not in seen:
                seen.add(statement)
                raise EndedError

        database = sa.make_url(empty_url).database
        sa.event.listen(sa.Engine, "after_cursor_execute", end)
        try:
            for target, least in ((("upgrade", "head"), 35), (("downgrade", "0001"), 15), (("upgrade", "head"), 30)):
                seen.clear()
                while True:
                    with suppress(EndedError):
                        alembic(empty_url, *target)
                        break
                assert len(seen) >= least
        finally:
            sa.event.remove(sa.Engine, "after_cursor_execute", end)
        alembic(empty_url, "check")
        make_rows(empty_url)
        assert sql(empty_url, "SELECT name FROM deployment") == [("works_from",)]

    @ON_MYSQL
    def test_it_never_takes_another_applications_table_for_its_own(self, empty_url: str) -> None:
        sql(empty_url, "CREATE TABLE outbox (id INTEGER)")
        for _ in range(2):
            with pytest.raises(sa.exc.OperationalError, match="outbox"):
                alembic(empty_url, "upgrade", "head")
        sql(empty_url, "DROP TABLE outbox")
        alembic(empty_url, "upgrade", "head")
        alembic(empty_url, "check")


class EndedError(BaseException):
    """The process is ended."""


class TestNewerSchema:
    """R17: what a server does whose database was migrated by a newer version."""

    @staticmethod
    def _at(url: str, works_from: str, revision: str = "newer") -> None:
        sql(url, f"UPDATE alembic_version SET version_num = '{revision}'")
        sql(url, f"UPDATE deployment SET value = '{revision} {works_from}' WHERE name = 'works_from'")

    def test_on_which_this_version_works_is_served(self, url: str) -> None:
        """R17."""
        self._at(url, HEAD)
        assert command("migrate", url=url).stdout == "The schema is at newer already\n"
        assert command("migrate", "--check", url=url).returncode == 0
        for migrate_on_start in ("true", "false"):
            done = command("serve", url=url, MIGRATE_ON_START=migrate_on_start)
            assert "it serves" in done.stderr, done
        with serving(url) as server, server.client() as http:
            assert http.get("/health/ready").status_code == 200

    def test_that_is_migrated_between_two_looks_is_served(self, url: str) -> None:
        """R17: what is kept of one revision says nothing of another."""
        self._at(url, HEAD)
        engine = sync_engine(url, isolation_level="AUTOCOMMIT")
        looks: list[str] = []

        @sa.event.listens_for(engine, "after_cursor_execute")
        def migrated(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "alembic_version.version_num" in statement:
                looks.append(statement)
                if len(looks) == 1:
                    self._at(url, HEAD, "newest")

        with engine.connect() as connection:
            found = revisions.find(connection)
        engine.dispose()
        assert (found.revision, found.works_from) == ("newest", HEAD)
        assert revisions.works_on_newer(found)

    def test_on_which_it_does_not_work_is_refused(self, url: str) -> None:
        """R17."""
        self._at(url, "newer")
        for args in (["serve"], ["migrate"], ["migrate", "--check"]):
            refused = refused_to_start(command(*args, url=url))
            assert "newer" in refused
            assert f"python -m userapi migrate --to {HEAD}" in refused

    def test_that_became_incompatible_is_not_ready(self, api: Api) -> None:
        """R17."""
        [(head,)] = api.sql("SELECT version_num FROM alembic_version")
        [(kept,)] = api.sql("SELECT value FROM deployment WHERE name = 'works_from'")
        try:
            self._at(api.server.url, head)
            assert api.http.get("/health/ready").status_code == 200
            self._at(api.server.url, "newer")
            assert api.http.get("/health/ready").json()["detail"] == "Not ready: schema"
        finally:
            api.sql("UPDATE alembic_version SET version_num = :head", head=head)
            api.sql("UPDATE deployment SET value = :kept WHERE name = 'works_from'", kept=kept)

    def test_every_migration_says_which_code_works_on_it(self, empty_url: str) -> None:
        """R17: and the database keeps it, step by step, up and down."""
        for revision in reversed(REVISIONS[:-1]):
            command("migrate", "--to", revision, url=empty_url)
            [(value,)] = sql(empty_url, "SELECT value FROM deployment WHERE name = 'works_from'")
            assert value.split()[0] == revision
            assert value.split()[1] in REVISIONS
        command("migrate", "--to", "0002", url=empty_url)
        assert sql(empty_url, "SELECT value FROM deployment WHERE name = 'works_from'") == [("0002 0002",)]


class TestOptions:
    def test_to_moves_up_and_down(self, empty_url: str) -> None:
        assert command("migrate", "--to", "0002", url=empty_url).stdout == "The schema went from nothing to 0002\n"
        assert command("migrate", url=empty_url).stdout == f"The schema went from 0002 to {HEAD}\n"
        make_rows(empty_url)
        assert command("migrate", "--to", "0002", url=empty_url).stdout == f"The schema went from {HEAD} to 0002\n"
        assert sql(empty_url, "SELECT count(*) FROM users") == [(1,)]
        assert "known_devices" not in tables(empty_url)

    @pytest.mark.parametrize("target", ["nonsense", "base", ""])
    def test_to_nowhere_is_refused(self, url: str, target: str) -> None:
        assert "schema cannot be" in refused_to_start(command("migrate", "--to", target, url=url))
        assert sql(url, "SELECT version_num FROM alembic_version") == [(HEAD,)]

    def test_check_tells_by_its_exit_code(self, empty_url: str) -> None:
        refused = refused_to_start(command("migrate", "--check", url=empty_url))
        assert refused == f"the schema is at nothing, not at {HEAD}: run python -m userapi migrate"
        assert tables(empty_url) == set()
        command("migrate", url=empty_url)
        done = command("migrate", "--check", url=empty_url)
        assert (done.returncode, done.stdout) == (0, f"The schema is at {HEAD} already\n")

    def test_sql_prints_what_would_be_done(self, empty_url: str) -> None:
        """And run by hand, it does that."""
        done = command("migrate", "--sql", url=empty_url)
        assert done.returncode == 0, done
        assert tables(empty_url) == set()
        lines = [line for line in done.stdout.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";"):
            if statement.strip() and statement.strip() not in ("BEGIN", "COMMIT"):
                sql(empty_url, statement.replace(":", r"\:"))
        assert command("migrate", "--check", url=empty_url).returncode == 0
        if not empty_url.startswith("sqlite"):  # where a script cannot build a table anew, and a length bounds nothing
            alembic(empty_url, "check")
        make_rows(empty_url)


TUTORIAL = """CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(20) NOT NULL, email VARCHAR(50) NOT NULL,
hashed_password VARCHAR(100) NOT NULL, age INTEGER, is_admin BOOLEAN, is_active BOOLEAN, created_at TIMESTAMP NULL)"""


class TestForeignDatabase:
    """R21."""

    @pytest.mark.parametrize("revision", [None, "0001", "0003", HEAD, "5f2a9c"])
    def test_of_the_tutorial_is_refused_and_left_alone(self, empty_url: str, revision: str | None) -> None:
        """R21."""
        sql(empty_url, TUTORIAL)
        sql(
            empty_url,
            "INSERT INTO users (id, username, email, hashed_password) VALUES (1, 'al', 'al@example.com', 'x')",
        )
        if revision:
            sql(empty_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
            sql(empty_url, f"INSERT INTO alembic_version VALUES ('{revision}')")
        before = tables(empty_url)
        for args in (["serve"], ["migrate"], ["migrate", "--check"], ["migrate", "--to", "0002"]):
            for migrate_on_start in ("true", "false"):
                done = command(*args, url=empty_url, MIGRATE_ON_START=migrate_on_start)
                assert "python -m userapi adopt" in refused_to_start(done)
        with pytest.raises(SystemExit, match="adopt"):
            alembic(empty_url, "upgrade", "head")
        assert tables(empty_url) == before
        assert sql(empty_url, "SELECT username FROM users") == [("al",)]

    @pytest.mark.parametrize("revisions", [["5f2a9c"], ["5f2a9c", "7b31d0"], ["0001", HEAD]])
    def test_of_another_application_is_refused(self, empty_url: str, revisions: list[str]) -> None:
        """R21."""
        sql(empty_url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        for revision in revisions:
            sql(empty_url, f"INSERT INTO alembic_version VALUES ('{revision}')")
        for args in (["serve"], ["migrate"]):
            refused = refused_to_start(command(*args, url=empty_url, MIGRATE_ON_START="true"))
            assert "another application" in refused
            assert [revision for revision in revisions if revision not in refused] == []

    @pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
    def test_of_an_earlier_version_of_ours_is_moved_over(self, empty_url: str, revision: str) -> None:
        """R21."""
        alembic(empty_url, "upgrade", revision)
        if revision != "0001":
            sql(empty_url, "DELETE FROM deployment")  # as it was before a database kept which code works on it
        make_rows(empty_url)
        assert command("migrate", url=empty_url).stdout == f"The schema went from {revision} to {HEAD}\n"
        assert sql(empty_url, "SELECT username FROM users") == [("admin",)]
        assert "it serves" in command("serve", url=empty_url, MIGRATE_ON_START="false").stderr


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
