"""Revisions: those that this version knows, and on which newer ones it works.

Each migration may say `works_from`: the oldest revision whose code works on the schema that it makes, too, so that
servers of that version go on while others are replaced (expand and contract). Without it, no older code does. The
database keeps the answer for its present schema, for servers that do not know the newer migrations.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlmodel import col

from userapi.errors import Refusal
from userapi.models import Deployment

ROOT = Path(__file__).parents[2]  # with `alembic.ini`
WORKS_FROM = "works_from"  # the name under which a database keeps that

_DECLARED = re.compile(r"^(revision|down_revision)\b[^=\n]*=(.+)", re.MULTILINE)
_VERSION = sa.table("alembic_version", sa.column("version_num"))  # Alembic's own


class Found(NamedTuple):
    """What a database says of its schema: its revision, None if it is empty, and the oldest whose code works on it."""

    revision: str | None
    works_from: str | None


@cache
def known() -> dict[str, str | None]:
    """Return the revisions that this version knows, each with the one before it.

    They are those that are there at the start, even if newer files come. They are read without Alembic: see `steps`.
    """
    files = (file.read_text("utf-8") for file in ROOT.joinpath("alembic", "versions").glob("*.py"))
    declared = ({name: ast.literal_eval(value.strip()) for name, value in _DECLARED.findall(text)} for text in files)
    return {step["revision"]: step["down_revision"] for step in declared if step}


def head() -> str:
    """Return the newest revision this version of the service knows.

    Raises:
        Refusal: Two migrations follow the same one, or none.
    """
    newest = sorted(known().keys() - known().values())
    if len(newest) != 1:
        raise Refusal(f"the migrations must follow one another, and end in {' and '.join(newest) or 'none'}")
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
        sqlalchemy.exc.MultipleResultsFound: It has several: it is not one of this service.
    """
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()


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
