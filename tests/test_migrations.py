"""Migrations: up, down and up again with rows present, by Alembic's own commands and by `python -m userapi migrate`."""

import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.service import ADMIN_PASSWORD, ROOT, Api, refused_to_start, run, serving, sync_engine

REVISIONS = [script.revision for script in ScriptDirectory.from_config(Config(ROOT / "alembic.ini")).walk_revisions()]
HEAD = REVISIONS[0]


def alembic(url: str, *args: str, cwd: Path = ROOT) -> str:
    """Run an Alembic command that must succeed; give what it printed."""
    done = run("alembic", *args, url=url, cwd=cwd, PYTHONPATH=str(cwd))
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


def make_admin(url: str) -> None:
    made = run("userapi", "create-admin", "--password-stdin", url=url, stdin=ADMIN_PASSWORD)
    assert made.returncode == 0, made.stderr


def make_rows(url: str) -> None:
    """An admin with a login session."""
    make_admin(url)
    now = "CURRENT_TIMESTAMP"
    sql(
        url,
        "INSERT INTO login_sessions (user_id, generation, created_at, rotated_at, expires_at)"
        f" SELECT id, 1, {now}, {now}, {now} FROM users",
    )


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
        assert "No new upgrade operations detected" in alembic(url, "check")

    def test_autogenerate_finds_nothing_to_do(self, url: str, copy: Path) -> None:
        alembic(url, "revision", "--autogenerate", "-m", "nothing", cwd=copy)
        source = new_revision(copy)
        assert source.count("pass") == 2
        assert "op." not in source

    def test_changed_model_becomes_a_migration_that_runs(self, url: str, copy: Path) -> None:
        make_rows(url)
        with (copy / "userapi" / "models.py").open("a") as models:
            models.write(CHANGED_MODEL)
        alembic(url, "revision", "--autogenerate", "-m", "add a nickname", cwd=copy)
        assert "nickname" in new_revision(copy)
        alembic(url, "upgrade", "head", cwd=copy)
        assert "No new upgrade operations detected" in alembic(url, "check", cwd=copy)
        assert sql(url, "SELECT username, nickname FROM users") == [("admin", None)]
        assert sql(url, "SELECT count(*) FROM login_sessions") == [(1,)]
        assert "notes" in tables(url)
        alembic(url, "downgrade", HEAD, cwd=copy)
        assert sql(url, "SELECT count(*) FROM users JOIN login_sessions ON users.id = user_id") == [(1,)]
        assert "No new upgrade operations detected" in alembic(url, "check")

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
    with op.batch_alter_table("users", recreate="always"{options}) as batch:
        batch.alter_column("age", new_column_name="years")


def downgrade():
    with op.batch_alter_table("users", recreate="always"{options}) as batch:
        batch.alter_column("years", new_column_name="age")
"""

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        "options", ["", ', table_kwargs={"sqlite_autoincrement": True}'], ids=["plain", "declared"]
    )
    @pytest.mark.parametrize("by", ["alembic", "userapi"])
    def test_rows_sessions_and_autoincrement_survive(self, url: str, copy: Path, options: str, by: str) -> None:
        """S2."""
        make_rows(url)
        with serving(url) as server:
            api = Api.__new__(Api)
            api.server, api.http = server, server.client()
            token = api.token("admin", ADMIN_PASSWORD)
            api.close()
        before = sql(url, "SELECT id, username_key, hashed_password FROM users")
        source = self.MIGRATION.replace("{head}", HEAD).replace("{options}", options)
        (copy / "alembic" / "versions" / "9999_rebuild.py").write_text(source)
        if by == "alembic":
            alembic(url, "upgrade", "head", cwd=copy)
        else:
            done = run("userapi", "migrate", url=url, cwd=copy, PYTHONPATH=str(copy))
            assert done.returncode == 0, done.stderr
        assert sql(url, "SELECT years FROM users") == [(None,)]
        alembic(url, "downgrade", "-1", cwd=copy)
        assert sql(url, "SELECT id, username_key, hashed_password FROM users") == before
        assert sql(url, "SELECT count(*) FROM login_sessions") == [(2,)]
        assert "AUTOINCREMENT" in sql(url, "SELECT sql FROM sqlite_master WHERE name = 'users'")[0][0]
        assert "No new upgrade operations detected" in alembic(url, "check")
        with serving(url) as server, server.client() as http:
            assert http.get("/users/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200


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

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_server_refuses_a_schema_that_is_not_at_head(self, url: str, workers: str) -> None:
        alembic(url, "downgrade", "-1")
        done = run("userapi", "serve", "--workers", workers, "--port", "0", url=url, MIGRATE_ON_START="false")
        assert "run python -m userapi migrate" in refused_to_start(done)
        assert run("userapi", "migrate", url=url).returncode == 0
        make_admin(url)

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
                connection.exec_driver_sql(statement)
            yield url.set(username=role, password=self.PASSWORD).render_as_string(hide_password=False)
            for statement in drop:
                connection.exec_driver_sql(statement.format(url.database, role))
        engine.dispose()

    def test_percent_and_punctuation_survive(self, role_url: str) -> None:
        alembic(role_url, "upgrade", "head")
        assert run("userapi", "migrate", url=role_url).stdout == f"The schema is at {HEAD} already\n"
        make_admin(role_url)
        with serving(role_url) as server, server.client() as http:
            assert http.get("/health/ready").status_code == 200
            assert self.PASSWORD not in server.text
