"""What can befall a unit of work, and how the errors of each driver tell."""

from collections.abc import Callable

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

_CONFLICT_STATES = {"40001", "40P01"}  # PostgreSQL: serialization failure, deadlock
_CONFLICT_NUMBERS = {1213, 1020}  # MySQL: deadlock; MariaDB: record has changed since last read
_SQLITE_BUSY = {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED


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


class CommitLost(Exception):
    """The connection broke during a commit: nobody knows whether it happened, so it must not run again."""


def is_disconnect(error: Exception) -> bool:
    """Tell whether the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_conflict(error: Exception) -> bool:
    """Tell whether a unit lost against another and may simply run again."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, RunAgain)
    number = error.orig.args[0] if error.orig and error.orig.args else None
    return getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES or number in _CONFLICT_NUMBERS


def is_busy(error: Exception) -> bool:
    """Tell whether another process holds SQLite's write lock."""
    if not isinstance(error, DBAPIError):
        return False
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY
