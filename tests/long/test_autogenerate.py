"""A changed model becomes a migration: Alembic writes it, and our tools and databases take it."""

from pathlib import Path

import pytest

from tests.support.alembic import (
    alembic,
    change_models,
    changed_alembic,
    column_types,
    complaints,
    copy,
    gives_a_deleted_id_again,
    make_rows,
    new_revision,
    sql,
)
from tests.support.checked import mypy_cache
from tests.support.databases import ON_SQLITE
from tests.support.processes import run

__all__ = ["copy", "mypy_cache"]


@pytest.mark.slow
def test_changed_model_becomes_a_migration_that_runs(kind: str, url: str, copy: Path, mypy_cache: Path) -> None:
    """The generated file passes ruff and mypy as it is, knows no type of the models, and goes up and down."""
    make_rows(url)
    change_models(copy)
    changed_alembic(url, copy, ["revision", "--autogenerate", "-m", "add a nickname"])
    source = new_revision(copy).read_text()
    assert not [word for word in ("userapi", "sqlmodel", "AutoString", "Timestamp") if word in source], source
    if kind == "sqlite":  # the file is the same on all of them
        assert complaints(copy, new_revision(copy), mypy_cache) == ""
    printed = changed_alembic(url, copy, ["upgrade", "head"], ["check"])
    assert "No new upgrade operations detected" in printed
    assert sql(url, "SELECT username, nickname FROM users") == [("admin", None)]
    users, notes = column_types(url, "users"), column_types(url, "notes")
    assert (users["nickname"].length, notes["text"].length) == (30, 30)
    assert repr(notes["written_at"]) == repr(users["created_at"])  # MySQL: with its microseconds
    changed_alembic(url, copy, ["downgrade", "-1"])
    assert sql(url, "SELECT count(*) FROM users JOIN login_sessions ON users.id = user_id") == [(1,)]
    assert not gives_a_deleted_id_again(url)
    alembic(url, "check")


@ON_SQLITE
def test_text_without_a_length_is_refused(url: str, copy: Path) -> None:
    """MySQL would refuse it later, or cut it at a length that nobody chose."""
    change_models(copy)
    for models in (copy / "userapi").rglob("*.py"):
        models.write_text(models.read_text().replace("pydantic.Field(max_length=30)", "pydantic.Field()"))
    done = run("alembic", "revision", "--autogenerate", "-m", "x", url=url, cwd=copy, PYTHONPATH=str(copy))
    assert done.returncode != 0
    assert "no length" in done.stdout + done.stderr
