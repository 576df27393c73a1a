"""Alembic's commands, and what they left in a database."""

import contextlib
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config, main
from alembic.script import ScriptDirectory

from tests.support.checked import mypy
from tests.support.databases import sync_engine
from tests.support.processes import ROOT, environment
from tests.support.schema import insert_admin

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


def changed_alembic(url: str, project: Path, *commands: list[str]) -> str:
    """Run Alembic commands, all in one process, in a project whose models are not those of this one."""
    program = f"from alembic.config import main\nfor command in {[*commands]!r}: main(command)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(url, PYTHONPATH=str(project)),
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
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


def column_types(url: str, table: str) -> dict[str, Any]:
    engine = sync_engine(url)
    types = {column["name"]: column["type"] for column in sa.inspect(engine).get_columns(table)}
    engine.dispose()
    return types


def make_rows(url: str) -> None:
    """Insert an admin with a login session; a user with a higher id has come and gone."""
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
    sql(url, SECOND_USER)
    sql(url, "DELETE FROM users WHERE username = 'second'")


SECOND_USER = """INSERT INTO users
(username, username_key, email, email_key, hashed_password, is_admin, is_active, created_at, version)
SELECT 'second', 'second', 'second@example.com', 'second@example.com', '', false, true, created_at, 1 FROM users"""


def gives_a_deleted_id_again(url: str) -> bool:
    """Return whether a new user gets the id of the one that came and went in `make_rows`."""
    sql(url, SECOND_USER)
    return sql(url, "SELECT max(id) FROM users") <= [(2,)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project that migrations may be written to."""
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("userapi", "alembic"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in ("alembic.ini", ".ruff.toml", ".mypy.ini"):
        shutil.copy(ROOT / name, project)
    return project


def new_revision(project: Path) -> Path:
    """Return the one migration that the copy has beside the project's."""
    known = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    [path] = [path for path in (project / "alembic" / "versions").glob("*.py") if path.name not in known]
    return path


def change_models(project: Path) -> None:
    """Add a field with a type of its own and a table to the models of a copy, as a developer would."""
    [models] = [path for path in (project / "userapi").rglob("*.py") if "class UserBase(" in path.read_text()]
    source = models.read_text()
    for before, after in [
        ("class UserBase(", f"{NICKNAME}\n\n\nclass UserBase("),
        ("    age: Age | None = None\n", "    age: Age | None = None\n    nickname: Nickname | None = None\n"),
    ]:
        assert before in source
        source = source.replace(before, after, 1)
    models.write_text(source + NOTE)


NICKNAME = """import typing, pydantic, sqlmodel
Nickname = typing.Annotated[str, pydantic.Field(max_length=30)]"""

NOTE = """

class Note(Model, table=True):
    __tablename__ = "notes"
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    user_id: int = sqlmodel.Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    text: typing.Annotated[Nickname | None, pydantic.Field(description="Short")] = None
    written_at: datetime = sqlmodel.Field(sa_type=Timestamp)
    printed_at: datetime | None = None
"""


def complaints(project: Path, path: Path, cache: Path) -> str:
    """Return what ruff and mypy say against a file of a copy of the project, in the project's own settings."""
    said = ""
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        command = [sys.executable, "-m", *tool, str(path)]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr if done.returncode else ""
    return said + mypy(project, cache, str(path))
