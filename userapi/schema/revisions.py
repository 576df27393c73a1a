"""Revisions: those that this version knows, and on which newer ones it works.

Each migration may say `works_from`: the oldest revision whose code works on the schema that it makes, too, so that
servers of that version go on while others are replaced (expand and contract). Without it, no older code does. The
database keeps the answer for its present schema, for servers that do not know the newer migrations.
"""

import ast
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlmodel import col

from userapi.errors import Refusal
from userapi.models import Deployment

ROOT = Path(__file__).parents[2]  # with `alembic.ini`
WORKS_FROM = "works_from"  # the name under which a database keeps that
VERSION_TABLE = "alembic_version"  # Alembic's own

_VERSION = sa.table(VERSION_TABLE, sa.column("version_num"))


class Found(NamedTuple):
    """What a database says of its schema: its revision, None if it is empty, and the oldest whose code works on it."""

    revision: str | None
    works_from: str | None


@cache
def known() -> dict[str, str | None]:
    """Return the revisions that this version knows, each with the one before it.

    They are those that are there at the start, even if newer files come. They are read without Alembic: see `steps`.

    Raises:
        Refusal: A migration does not say which one it is, or which one is before it.
    """
    files = sorted(ROOT.joinpath("alembic", "versions").glob("[!.]*.py"))
    return dict(map(_declared, files))


def head() -> str:
    """Return the newest revision this version of the service knows.

    Raises:
        Refusal: There is none, or several.
    """
    newest = sorted(known().keys() - known().values())
    if len(newest) != 1:
        raise Refusal(f"the migrations must end in one revision, not in {' and '.join(newest) or 'none'}")
    return newest[0]


def find(connection: Connection) -> Found:
    """Return what a database says of its schema."""
    revision = revision_of(connection)
    if revision is None or revision in known() or not sa.inspect(connection).has_table("deployment"):
        return Found(revision, None)
    kept = sa.select(col(Deployment.value)).where(col(Deployment.name) == WORKS_FROM)
    of, _, works_from = str(connection.execute(kept).scalar()).partition(" ")
    if of != revision and revision_of(connection) != revision:  # another process has migrated between the two looks
        return find(connection)
    return Found(revision, works_from if of == revision else None)


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one.

    Raises:
        Refusal: It has several, so it is another application's.
    """
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalars(sa.select(_VERSION.c.version_num)).all()
    if len(found) > 1:
        raise Refusal(f"the database is another application's, at the revisions {' and '.join(sorted(found))}")
    return found[0] if found else None


def works_on_newer(found: Found) -> bool:
    """Tell whether a schema is of a newer version, and made so that this one works on it."""
    return found.revision not in known() and found.works_from in known()


def is_older(wanted: str, than: str | None) -> bool:
    """Tell whether a revision comes before another, which is known or none."""
    while than is not None:
        than = known()[than]
        if than == wanted:
            return True
    return False


def _declared(file: Path) -> tuple[str, str | None]:
    """Return the revision of a migration's file, and the one before it."""
    found: dict[str, Any] = {}
    for statement in ast.parse(file.read_bytes()).body:
        match statement:
            case ast.Assign([ast.Name(name)], ast.Constant(value)):
                found[name] = value
            case ast.AnnAssign(ast.Name(name), _, ast.Constant(value)):
                found[name] = value
    if not isinstance(found.get("revision"), str) or "down_revision" not in found:
        raise Refusal(f"the migration {file.name} must say its revision and, as down_revision, the one before it")
    return found["revision"], found["down_revision"]
