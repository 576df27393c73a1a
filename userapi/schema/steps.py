"""Steps from one revision to another, by Alembic.

Importing that takes 11 MiB and 75 ms, and most starts find the schema where it should be: this module is imported when
there is something to move.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlmodel import col

from alembic import command
from userapi.errors import Refusal
from userapi.models import Deployment
from userapi.schema.revisions import ROOT, WORKS_FROM, is_older

ALEMBIC = Config(ROOT / "alembic.ini")


def meant(target: str) -> str | None:
    """Return the revision that a word of the operator means; None for that of an empty database.

    Raises:
        Refusal: There is none, or more than one.
    """
    with _readable():
        script = ScriptDirectory.from_config(ALEMBIC).get_revision(target) if target else None
    return script.revision if script else None


def run(connection: Connection, before: str | None, wanted: str) -> list[str]:
    """Go from a revision to another, up or down; return those gone through: none, if another process was faster.

    Raises:
        Refusal: Alembic cannot go there.
    """
    done: list[str] = []
    ALEMBIC.attributes.update(connection=connection, on_step=[lambda step, **_: done.append(step.up_revision_id)])
    try:
        with _readable():
            (command.downgrade if is_older(wanted, before) else command.upgrade)(ALEMBIC, wanted)
    finally:
        ALEMBIC.attributes.clear()
    return done


def print_sql(before: str | None, wanted: str) -> None:
    """Print the SQL that would go from a revision to another.

    Raises:
        Refusal: SQLite would have to copy a table, which takes more than SQL.
    """
    with _readable():
        step = command.downgrade if is_older(wanted, before) else command.upgrade
        step(ALEMBIC, f"{before or 'base'}:{wanted}", sql=True)


def remember_works_from(ctx: MigrationContext, reached: Script) -> None:
    """Keep in the database the oldest revision whose code works on the schema that a step has just made."""
    if reached.revision == "0001":
        return  # it has no table for that
    oldest = getattr(reached.module, WORKS_FROM, reached.revision)
    ctx.impl.execute(sa.delete(Deployment).where(col(Deployment.name) == WORKS_FROM))
    ctx.impl.execute(sa.insert(Deployment).values(name=WORKS_FROM, value=f"{reached.revision} {oldest}"))


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise Refusal(f"the database's schema cannot be changed: {error}") from error
