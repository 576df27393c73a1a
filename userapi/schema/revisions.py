"""Revisions: those that this version knows, and on which newer ones it works.

Each migration may say `works_from`: the oldest revision whose code works on the schema that it makes, too, so that
servers of that version go on while others are replaced (expand and contract). Without it, no older code does. The
database keeps the answer for its present schema, for servers that do not know the newer migrations.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection
from sqlmodel import col

from userapi.models import Deployment

ALEMBIC = Config(Path(__file__).parents[2] / "alembic.ini")
WORKS_FROM = "works_from"  # the name under which a database keeps that


class Found(NamedTuple):
    """What a database says of its schema: its revision, None if it is empty, and the oldest whose code works on it."""

    revision: str | None
    works_from: str | None


@cache
def directory() -> ScriptDirectory:
    """Return the revisions that this version knows: those that are there at the start, even if newer files come."""
    return ScriptDirectory.from_config(ALEMBIC)


@cache
def known() -> dict[str, Script]:
    """Return them by name."""
    return {step.revision: step for step in directory().walk_revisions()}


def head() -> str | None:
    """Return the newest revision this version of the service knows."""
    return directory().get_current_head()


def find(connection: Connection) -> Found:
    """Return what a database says of its schema."""
    revision = _revision(connection)
    if revision is None or revision in known() or not sa.inspect(connection).has_table("deployment"):
        return Found(revision, None)
    kept = sa.select(col(Deployment.value)).where(col(Deployment.name) == WORKS_FROM)
    of, _, works_from = str(connection.execute(kept).scalar()).partition(" ")
    if of != revision and _revision(connection) != revision:  # another process has migrated between the two looks
        return find(connection)
    return Found(revision, works_from if of == revision else None)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def works_on_newer(found: Found) -> bool:
    """Tell whether a schema is of a newer version, and made so that this one works on it."""
    return found.revision not in known() and found.works_from in known()


def is_older(wanted: str, than: str | None) -> bool:
    """Tell whether a revision comes before another, which is known or none."""
    older = {step.revision for step in directory().iterate_revisions(than or "base", "base")} - {than}
    return wanted in older


def remember_works_from(ctx: MigrationContext, reached: Script) -> None:
    """Keep in the database the oldest revision whose code works on the schema that a step has just made."""
    if reached.revision == "0001":
        return  # it has no table for that
    oldest = getattr(reached.module, WORKS_FROM, reached.revision)
    ctx.impl.execute(sa.delete(Deployment).where(col(Deployment.name) == WORKS_FROM))
    ctx.impl.execute(sa.insert(Deployment).values(name=WORKS_FROM, value=f"{reached.revision} {oldest}"))
