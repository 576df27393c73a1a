"""Migrations: up, down and up again with rows present, by Alembic's own commands and by `python -m userapi migrate`."""

import contextlib
import io
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config, main
from alembic.script import ScriptDirectory

from tests.service import ROOT, environment, insert_admin, refused_to_start, run, serving, sync_engine

REVISIONS = [script.revision for script in ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions()]
HEAD = REVISIONS[0]


def alembic(url: str, *args: str, project: Path = ROOT) -> str:
    """Run an Alembic command in this process; give what it printed. One that fails raises SystemExit."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        for name, value in environment(url).items():
            patch.setenv(name, value)
        main(["-c", str(project / "alembic.ini"), *args])
    return printed.getvalue()


def changed_alembic(url: str, project: Path, *args: str) -> str:
    """Run an Alembic command in a project whose models are not those of this process."""
    done = run("alembic", *args, url=url, cwd=project, PYTHONPATH=str(project))
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def sql(url: str, statement: str) -> list[Any]:
    engine = sync_engine(url)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        rows = list(result.all()) if result.returns_rows else []
    engine.dispose()
    return rows


def tables(url: str) -> set[str]:
    engine = sync_engine(url)
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return names - {"sqlite_sequence"}


def make_rows(url: str) -> None:
    """An admin with a login session."""
    now = "CURRENT_TIMESTAMP"
    engine = sync_engine(url)
    with engine.begin() as connection:
        insert_admin(connection)
        connection.execute(
            sa.text(
                "INSERT INTO login_sessions (user_id, generation, created_at, rotated_at, expires_at)"
                f" SELECT id, 1, {now}, {now}, {now} FROM users"
            )
        )
    engine.dispose()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project that migrations may be written to."""
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("userapi", "alembic"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    shutil.copy(ROOT / "alembic.ini", project)
    return project


def new_revision(project: Path) -> str:
    """The source of the one migration that the copy has beside the project's."""
    known = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    [path] = [path for path in (project / "alembic" / "versions").glob("*.py") if path.name not in known]
    return path.read_text()


class TestAlembic:
    def test_up_down_and_up_again_with_rows(self, empty_url: str) -> None:
        alembic(empty_url, "upgrade", "head")
        assert sql(empty_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
        assert tables(empty_url) == {"alembic_version", "users", "login_sessions"}
        make_rows(empty_url)
        for _ in REVISIONS[1:]:
            alembic(empty_url, "downgrade", "-1")
            assert sql(empty_url, "SELECT count(*) FROM users") == [(1,)]
        alembic(empty_url, "upgrade", "head")
        assert sql(empty_url, "SELECT count(*) FROM users") == [(1,)]
        alembic(empty_url, "downgrade", "base")
        assert tables(empty_url) == {"alembic_version"}
        alembic(empty_url, "upgrade", "head")
        make_rows(empty_url)

    def test_one_step_down_from_the_first_revision_is_empty(self, empty_url: str) -> None:
        alembic(empty_url, "upgrade", REVISIONS[-1])
        alembic(empty_url, "downgrade", "-1")
        assert tables(empty_url) == {"alembic_version"}

    def test_models_and_migrations_agree(self, url: str) -> None:
        alembic(url, "check")
        sql(url, "ALTER TABLE users ADD COLUMN shoe_size INTEGER")
        with pytest.raises(SystemExit):
            alembic(url, "check")

    def test_autogenerate_finds_nothing_to_do(self, url: str, copy: Path) -> None:
        alembic(url, "revision", "--autogenerate", "-m", "nothing", project=copy)
        source = new_revision(copy)
        assert source.count("pass") == 2
        assert "op." not in source

    def test_changed_model_becomes_a_migration_that_runs(self, url: str, copy: Path) -> None:
        make_rows(url)
        with (copy / "userapi" / "models.py").open("a") as models:
            models.write(CHANGED_MODEL)
        changed_alembic(url, copy, "revision", "--autogenerate", "-m", "add a nickname")
        assert "nickname" in new_revision(copy)
        changed_alembic(url, copy, "upgrade", "head")
        assert "No new upgrade operations detected" in changed_alembic(url, copy, "check")
        assert sql(url, "SELECT username, nickname FROM users") == [("admin", None)]
        assert "notes" in tables(url)
        changed_alembic(url, copy, "downgrade", "-1")
        assert sql(url, "SELECT count(*) FROM users JOIN login_sessions ON users.id = user_id") == [(1,)]
        alembic(url, "check")

    def test_sql_can_be_written_out_without_a_database(self, empty_url: str) -> None:
        script = alembic(empty_url, "upgrade", "head", "--sql")
        assert "CREATE TABLE users" in script
        assert tables(empty_url) == set()

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_wrong_setting_is_one_readable_line(self, empty_url: str) -> None:
        done = run("alembic", "upgrade", "head", url=empty_url, BCRYPT_ROUNDS="many")
        assert refused_to_start(done).startswith("BCRYPT_ROUNDS: ")


CHANGED_MODEL = """

User.__table__.append_column(sqlalchemy.Column("nickname", AutoString(40), index=True))


class Note(SQLModel, table=True):
    __tablename__ = "notes"
    id: int | None = Column(default=None, primary_key=True)
    user_id: int = Column(foreign_key="users.id", ondelete="CASCADE")
    text: str = Column(max_length=200)
    written_at: datetime = Column(sa_type=Timestamp)
""".replace("\nUser.", "\nimport sqlalchemy\nfrom sqlmodel.sql.sqltypes import AutoString\n\nUser.", 1)


class TestSqliteRebuild:
    """SQLite changes a column by building the table anew."""

    MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("users", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("age", new_column_name="years")


def downgrade():
    with op.batch_alter_table("users", recreate="always", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("years", new_column_name="age")
"""

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("by", ["alembic", "userapi"])
    def test_rows_sessions_and_autoincrement_survive(self, url: str, copy: Path, by: str) -> None:
        """S2."""
        make_rows(url)
        tables_before = sql(url, "SELECT * FROM users"), sql(url, "SELECT * FROM login_sessions")
        source = self.MIGRATION.replace("{head}", HEAD)
        (copy / "alembic" / "versions" / "9999_rebuild.py").write_text(source)
        if by == "alembic":
            alembic(url, "upgrade", "head", project=copy)
        else:
            done = run("userapi", "migrate", url=url, cwd=copy, PYTHONPATH=str(copy))
            assert done.stdout == f"The schema went from {HEAD} to 9999\n", done.stderr
        assert sql(url, "SELECT years FROM users") == [(None,)]
        alembic(url, "downgrade", "-1", project=copy)
        assert (sql(url, "SELECT * FROM users"), sql(url, "SELECT * FROM login_sessions")) == tables_before
        assert "AUTOINCREMENT" in sql(url, "SELECT sql FROM sqlite_master WHERE name = 'users'")[0][0]
        alembic(url, "check")


class TestMigrate:
    def test_six_at_once_on_one_empty_database(self, empty_url: str) -> None:
        """R10."""
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda _: run("userapi", "migrate", url=empty_url), range(6)))
        assert [finished.returncode for finished in done] == [0] * 6, "".join(finished.stderr for finished in done)
        printed = sorted(finished.stdout for finished in done)
        assert printed == [f"The schema is at {HEAD} already\n"] * 5 + [f"The schema went from nothing to {HEAD}\n"]
        assert sql(empty_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
        make_rows(empty_url)
        alembic(empty_url, "check")

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_server_refuses_a_schema_that_is_not_at_head(self, url: str, workers: str) -> None:
        alembic(url, "downgrade", "-1")
        done = run("userapi", "serve", "--workers", workers, "--port", "0", url=url, MIGRATE_ON_START="false")
        assert "run python -m userapi migrate" in refused_to_start(done)

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_schema_of_a_newer_version_is_refused_readably(self, url: str) -> None:
        sql(url, "UPDATE alembic_version SET version_num = '9999'")
        for command in (["migrate"], ["serve", "--port", "0"]):
            done = run("userapi", *command, url=url, MIGRATE_ON_START="true")
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
        assert run("userapi", "migrate", url=role_url).stdout == f"The schema is at {HEAD} already\n"
        with serving(role_url) as server, server.client() as http:
            assert http.get("/health/ready").status_code == 200
            assert self.PASSWORD not in server.text
