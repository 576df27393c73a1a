"""The schema: which revision a database is at, and how it comes to the newest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from alembic import command
from userapi.errors import DatabaseUnavailable, Refusal
from userapi.kit.database import Database
from userapi.schema import locks

_ALEMBIC = Config(Path(__file__).parents[2] / "alembic.ini")


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


def head() -> str | None:
    """Return the newest revision this version of the service knows."""
    return ScriptDirectory.from_config(_ALEMBIC).get_current_head()


async def revision(database: Database) -> str | None:
    """Return the revision of the database's schema; None for an empty one."""
    return await database.read(_revision)


async def require_head(database: Database) -> None:
    """Check that the schema is at head.

    Raises:
        Refusal: It is not; the sentence names the command that helps.
    """
    found, wanted = await revision(database), head()
    if found != wanted:
        raise Refusal(
            f"the database's schema is at {found or 'nothing'}, this version needs {wanted}:"
            f" run python -m userapi migrate"
        )


async def upgrade(database: Database) -> tuple[str | None, str | None]:
    """Bring the schema to head; return the revisions before and after.

    Raises:
        Refusal: This version does not know the schema.
    """
    before, wanted = await revision(database), head()
    if before == wanted:
        return before, wanted
    try:
        steps = await locks.migrate(database, to_head)
    except CommandError as error:
        raise Refusal(f"the database's schema cannot be brought to head: {error}") from error
    return (before if steps else wanted), wanted


def to_head(connection: Connection) -> list[str]:
    """Bring the schema to head, under the lock of migrations; return the revisions gone through, which may be none."""
    steps: list[str] = []
    _ALEMBIC.attributes.update(connection=connection, on_step=lambda step, **_: steps.append(step.up_revision_id))
    try:
        command.upgrade(_ALEMBIC, "head")
    finally:
        _ALEMBIC.attributes.clear()
    return steps


def at_head(connection: Connection) -> bool:
    """Tell whether the schema is at head."""
    return _revision(connection) == head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
