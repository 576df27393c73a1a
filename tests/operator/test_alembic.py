"""Migrations by Alembic's own commands: up, down and up again with rows present."""

from pathlib import Path

import pytest

from tests.support.alembic import (
    HEAD,
    REVISIONS,
    alembic,
    copy,
    gives_a_deleted_id_again,
    make_rows,
    new_revision,
    sql,
    tables,
)
from tests.support.databases import ON_SQLITE
from tests.support.processes import refused_to_start, run

__all__ = ["copy"]

SESSION = "INSERT INTO login_sessions (user_id, generation, created_at, rotated_at, expires_at)"


class TestAlembic:
    def test_up_down_and_up_again_with_rows(self, empty_url: str) -> None:
        alembic(empty_url, "upgrade", "head")
        assert sql(empty_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
        assert tables(empty_url) >= {
            "users",
            "login_sessions",
            "deployment",
            "password_guesses",
            "known_devices",
            "unlocks",
        }
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

    def test_sessions_from_before_tokens_were_bound_end(self, empty_url: str) -> None:
        """S26: and those of after survive the way back."""
        alembic(empty_url, "upgrade", "0001")
        make_rows(empty_url)
        assert sql(empty_url, "SELECT count(*) FROM login_sessions") == [(1,)]
        alembic(empty_url, "upgrade", "0002")
        assert sql(empty_url, "SELECT count(*) FROM login_sessions") == [(0,)]
        assert sql(empty_url, "SELECT username FROM users") == [("admin",)]
        sql(empty_url, f"{SESSION} SELECT id, 1, created_at, created_at, created_at FROM users")
        assert sql(empty_url, "SELECT id, nonce, used_generation FROM login_sessions") == [(2, "", 1)]
        alembic(empty_url, "downgrade", "0001")
        assert sql(empty_url, "SELECT id, generation FROM login_sessions") == [(2, 1)]
        sql(empty_url, f"{SESSION} SELECT id, 1, created_at, created_at, created_at FROM users")
        assert sql(empty_url, "SELECT max(id) FROM login_sessions") == [(3,)]

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
        source = new_revision(copy).read_text()
        assert source.count("pass") == 2
        assert "op." not in source
        assert "import" not in source

    @ON_SQLITE
    def test_new_migration_without_ruff_says_so(self, url: str, copy: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("importlib.util.find_spec", lambda _: None)
            said = alembic(url, "revision", "-m", "by hand", project=copy)
        assert "ruff is not installed" in said
        assert "import" not in new_revision(copy).read_text()

    def test_sql_can_be_written_out_without_a_database(self, empty_url: str) -> None:
        script = alembic(empty_url, "upgrade", "head", "--sql")
        assert "CREATE TABLE users" in script
        assert tables(empty_url) == set()

    @ON_SQLITE
    def test_wrong_setting_is_one_readable_line(self, empty_url: str) -> None:
        done = run("alembic", "upgrade", "head", url=empty_url, LOG_FORMAT="xml")
        assert refused_to_start(done).startswith("LOG_FORMAT: ")


class TestSqliteRebuild:
    """SQLite changes a column by building the table anew."""

    MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("users") as batch:
        batch.alter_column("age", new_column_name="years")


def downgrade():
    with op.batch_alter_table("users") as batch:
        batch.alter_column("years", new_column_name="age")
"""

    @ON_SQLITE
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
        assert not gives_a_deleted_id_again(url)
        alembic(url, "check")
