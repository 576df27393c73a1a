"""A copy of an SQLite database, made while the service writes."""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from userapi.errors import Refusal


def copy(connection: Connection, to: Path) -> None:
    """Write the database of a connection, as it is at one instant, to a file for its owner only, whole or not at all.

    The copy has no login sessions: one that was ended later would live again with the tokens of it that somebody kept.
    Nobody waits for this but whoever deletes much at once, since SQLite keeps what the copy still has to read.

    Raises:
        Refusal: There is such a file, or it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(".partial", f".{to.name}.", to.parent)
        os.close(descriptor)
        partial = Path(name)
        try:
            _fill(connection, partial)
            os.link(partial, to)  # unlike a rename, it replaces nothing
        finally:
            partial.unlink()
        _sync(to.parent)
    except (OSError, sqlite3.Error) as error:
        raise Refusal(f"cannot write {to}: {getattr(error, 'strerror', None) or error}") from error


def _fill(connection: Connection, partial: Path) -> None:
    source = connection.connection.driver_connection
    with closing(sqlite3.connect(partial, isolation_level=None)) as target:
        source.backup(target)  # type: ignore[union-attr]  # sqlite3's online backup
        target.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        target.execute("PRAGMA secure_delete=ON")
        target.execute("DELETE FROM login_sessions")
        if (found := target.execute("PRAGMA integrity_check").fetchone()) != ("ok",):
            raise Refusal(f"the database is damaged: {found[0]}")
    _sync(partial)


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
