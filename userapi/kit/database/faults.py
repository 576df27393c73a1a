"""What can befall a unit of work, and how the errors of each driver tell."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlmodel import Session

from userapi.kit.announcements import Announcement

_CONFLICT_STATES = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
# MySQL: deadlock, and a node of a cluster whose row another one has changed; MariaDB: record has changed since last
# read; a node that has lost its cluster, perhaps for a moment.
_CONFLICT_NUMBERS = {1213, 1020, 1047}
# The server is not the one to ask: PostgreSQL has become read-only; a pooler has lost or mixed up what was prepared.
_MISDIRECTED_STATES = {"25006", "26000", "42P05"}
# MySQL and MariaDB: read-only in three ways; a node that has lost its cluster.
_MISDIRECTED_NUMBERS = {1290, 1792, 1836, 1047}
_SQLITE_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_INTERRUPT = 9


class RunAgain(Exception):
    """Raised by a unit that met another's change halfway: nothing is wrong, and a fresh run will see it whole."""


class AskAfterRollback(Exception):
    """Raised by a unit that failed for a reason which only a fresh transaction can tell.

    `Database` rolls the unit back and calls `ask(db)`. That raises the error to be told; if it returns, the reason is
    gone by now, and the unit runs again.
    """

    def __init__(self, ask: Callable[[Session], None]) -> None:
        """Have `ask` called after the rollback."""
        super().__init__("ask after the rollback")
        self.ask = ask


@dataclass(frozen=True)
class ForeignRowRead(Announcement):
    """The database answered with another row than was asked for, as a pooler does that mixes up statements."""

    asked: str
    found: str


class ForeignRow(Exception):
    """A row is not the one that was asked for: it must not be used, nor the connection that it came from."""

    def __init__(self, asked: object, found: object) -> None:
        """Tell the ids asked for and those of the row."""
        super().__init__(f"asked for the row {asked}, the database answered with {found}")
        self.event = ForeignRowRead(str(asked), str(found))


class CommitLost(Exception):
    """The connection broke during a commit: nobody knows whether it happened, so it must not run again."""


def require_asked(found: object, asked: object) -> None:
    """Check that a row's ids are those that were asked for.

    Raises:
        ForeignRow: They are not.
    """
    if found != asked:
        raise ForeignRow(asked, found)


def is_misdirected(error: BaseException | None) -> bool:
    """Tell whether the error of a driver, or what SQLAlchemy made of it, shows that another server must be asked."""
    error = error.orig if isinstance(error, DBAPIError) else error
    if error is None:
        return False
    number = error.args[0] if error.args else None
    return getattr(error, "sqlstate", None) in _MISDIRECTED_STATES or number in _MISDIRECTED_NUMBERS


def is_unavailable(error: DBAPIError) -> bool:
    """Tell whether an error is the server's state, not what was asked of it."""
    return isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated


def is_disconnect(error: Exception) -> bool:
    """Tell whether the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_conflict(error: Exception) -> bool:
    """Tell whether a unit lost against another and may simply run again."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, RunAgain)
    number = error.orig.args[0] if error.orig and error.orig.args else None
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES or number in _CONFLICT_NUMBERS


def is_busy(error: BaseException) -> bool:
    """Tell whether another process holds SQLite's write lock."""
    return _sqlite_code(error) in _SQLITE_BUSY


def is_interrupted(error: BaseException) -> bool:
    """Tell whether a statement of SQLite was interrupted."""
    return _sqlite_code(error) == _SQLITE_INTERRUPT


def _sqlite_code(error: BaseException) -> int:
    found: int = getattr(error.orig, "sqlite_errorcode", 0) if isinstance(error, DBAPIError) else 0
    return found & 0xFF


def commit(db: Session) -> None:
    """Commit a unit.

    Raises:
        CommitLost: The connection broke meanwhile.
        sqlalchemy.exc.DBAPIError: It is not committed.
    """
    try:
        db.commit()
    except DBAPIError as error:
        if is_disconnect(error):
            raise CommitLost("the connection broke during a commit") from error
        raise
