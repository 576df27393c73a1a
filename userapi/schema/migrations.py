"""The schema: whose it is, and how it comes from one revision to another."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import URL, Connection
from sqlalchemy.exc import NoSuchTableError, OperationalError, SQLAlchemyError

from userapi.errors import DatabaseUnavailable, Refusal
from userapi.kit.database import Database
from userapi.schema import locks
from userapi.schema.revisions import Found, find, head, known, revision_of, works_on_newer

R = TypeVar("R")

LOCK_SECONDS = 2  # a migration waits so long for a lock of a table; whoever comes later waits behind it
LOCK_PAUSE = 1.0  # seconds, before it tries again
_AGAIN = {"55P03", "40P01"}  # PostgreSQL: a lock was not to be had in time; deadlock

log = logging.getLogger(__name__)


@contextmanager
def usable(url: URL) -> Iterator[None]:
    """Say in one sentence whatever is wrong with the database of a URL.

    Raises:
        Refusal: The database cannot be reached or used.
    """
    try:
        yield
    except (DatabaseUnavailable, SQLAlchemyError, TypeError) as error:  # TypeError: an option the driver does not know
        cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
        reason = str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0] or type(cause).__name__
        shown = url.render_as_string(hide_password=True)
        raise Refusal(f"cannot use the database {shown}: {reason}") from error


def is_ours(connection: Connection) -> bool:
    """Tell whether the users of a database are kept as this service keeps them; False if it is empty."""
    return _are_ours(_columns_of_users(connection))


async def revision(database: Database) -> str | None:
    """Return the revision of the database's schema; None for an empty one."""
    return (await database.read(find)).revision


async def require_head(database: Database) -> None:
    """Check that the schema is at head, or at a newer revision on which this version works, too.

    Raises:
        Refusal: It is not; the sentence names the command that helps.
    """
    await database.read(require_ours)
    found, wanted = await database.read(find), head()
    if found.revision == wanted or works_on_newer(found):
        return
    _require_known(found)
    raise Refusal(
        f"the database's schema is at {found.revision or 'nothing'}, this version needs {wanted}:"
        f" run python -m userapi migrate"
    )


def require_ours(connection: Connection) -> None:
    """Check that the database is empty or this service's own.

    Raises:
        Refusal: It is another's; the sentence names the command that helps.
    """
    present = revision_of(connection)  # first: another may migrate meanwhile
    columns = _columns_of_users(connection)  # in one look, for the same reason
    if _are_ours(columns):
        return
    if columns:
        raise Refusal(
            "the database has a table users that is not this service's:"
            " move it in with python -m userapi adopt, or use another database"
        )
    if present:
        raise Refusal(f"the database is another application's, at revision {present}: use another database")


async def upgrade(database: Database) -> tuple[str | None, str | None]:
    """Bring the schema to head; return the revisions before and after. A newer one on which this version works stays.

    Raises:
        Refusal: This version does not know the schema, or it is another service's.
    """
    return await move(database, "head")


async def move(database: Database, target: str) -> tuple[str | None, str | None]:
    """Bring the schema to a revision, up or down; return the revisions before and after.

    Raises:
        Refusal: There is no such revision, this version does not know the schema, or it is another service's.
    """
    before, wanted = await plan(database, target)
    if before == wanted:
        return before, wanted
    done = await change(database, lambda connection: _run(connection, before, wanted))
    return (before if done else wanted), wanted


async def script(database: Database, target: str) -> tuple[str | None, str]:
    """Print the SQL that would bring the schema to a revision; return what `plan` does.

    Raises:
        Refusal: As `move`; or SQLite would have to copy a table, which takes more than SQL.
    """
    from userapi.schema import steps  # noqa: PLC0415 - it imports Alembic

    before, wanted = await plan(database, target)
    steps.print_sql(before, wanted)
    return before, wanted


async def plan(database: Database, target: str) -> tuple[str | None, str]:
    """Return the revision that the schema is at, and the one that `target` means; changes nothing.

    Raises:
        Refusal: As `move`.
    """
    found = await database.read(find)
    if target == "head" and works_on_newer(found):
        return found.revision, str(found.revision)
    await database.read(require_ours)
    _require_known(found)
    if target == "head":
        return found.revision, head()
    from userapi.schema import steps  # noqa: PLC0415 - it imports Alembic

    wanted = steps.meant(target)
    if wanted is None:
        raise Refusal("the schema cannot be brought to nothing: all users would be gone")
    return found.revision, wanted


async def change(database: Database, work: Callable[[Connection], R]) -> R:
    """Run `work`, which changes the schema, under the migration's lock.

    It runs again if a table stayed locked for too long, or it was the one that gave way to end a deadlock.

    Raises:
        RuntimeError: As `locks.migrate`.
    """
    deadline = time.monotonic() + locks.MIGRATION_SECONDS
    while True:
        try:
            return await locks.migrate(database, work)
        except OperationalError as error:
            # PostgreSQL has undone all; on MySQL, which cannot, each statement is tried again by itself (see `env.py`).
            if getattr(error.orig, "sqlstate", None) not in _AGAIN or time.monotonic() > deadline:
                raise
            log.warning("a table is locked by others: the migration tries again")
        await asyncio.sleep(LOCK_PAUSE)


def to_head(connection: Connection) -> list[str]:
    """Bring the schema to head, under the lock of migrations; return the revisions gone through, which may be none."""
    return _run(connection, None, head())  # from wherever it is: nothing is above


def at_head(connection: Connection) -> bool:
    """Tell whether the schema is at head."""
    return find(connection).revision == head()


def _columns_of_users(connection: Connection) -> set[str]:
    """Return the names of the columns of the table `users`; none, if there is no such table."""
    try:
        return {column["name"] for column in sa.inspect(connection).get_columns("users")}
    except NoSuchTableError:
        return set()


def _are_ours(columns: set[str]) -> bool:
    """Tell by its columns: the name of a table or of a revision tells nothing, for others use the same."""
    return {"username_key", "email_key"} <= columns


def _require_known(found: Found) -> None:
    if found.revision is not None and found.revision not in known():
        raise Refusal(
            f"the database's schema is at {found.revision}, of a newer version, and this version does not work on it:"
            f" install the newer one, or go back with its python -m userapi migrate --to {head()}"
        )


def _run(connection: Connection, before: str | None, wanted: str) -> list[str]:
    """Return the revisions gone through: none, if another process was faster."""
    from userapi.schema import steps  # noqa: PLC0415 - it imports Alembic

    return steps.run(connection, before, wanted)
