"""Users go out: as they are at one moment, in the form that an import reads."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import orjson
import sqlalchemy
from sqlalchemy import Connection, bindparam
from sqlmodel import col

from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import Database
from userapi.models import PUBLIC_FIELDS, User
from userapi.proof import credentials
from userapi.users.changes import OPERATOR

Form = Literal["csv", "jsonl"]

CHUNK = 2000  # users at a time


@dataclass(frozen=True)
class Exported(Announcement):
    """The operator has all users written to a file, with the hashes of their passwords or without."""

    with_hashes: bool
    by: str = OPERATOR


async def export(database: Database, file: BinaryIO, form: Form, *, with_hashes: bool) -> int:
    """Write all users to a file, in the order of their ids; return how many there are.

    It is announced before, so that nothing goes out which nobody can see later.

    Raises:
        ApiError: database_unavailable.
        SQLAlchemyError: The database fails.
    """
    names = [*PUBLIC_FIELDS, "email_claimed", *(["hashed_password"] if with_hashes else [])]
    columns = [credentials.claimed() if name == "email_claimed" else getattr(User, name) for name in names]
    chunk = sqlalchemy.select(*columns).where(col(User.id) > bindparam("after")).order_by(col(User.id)).limit(CHUNK)

    def work(connection: Connection) -> int:
        """Read in one transaction, which sees the database as it is when it begins."""
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        if form == "csv":
            file.write(_csv([names]))
        after = written = 0
        while rows := connection.execute(chunk, {"after": after}).all():
            file.write(_csv(_texts(rows)) if form == "csv" else _json(names, rows))
            after, written = rows[-1][0], written + len(rows)
        connection.rollback()
        return written

    await database.write(announce, Exported(with_hashes))
    return await database.unlimited(work, busy_seconds=0)


def _json(names: Sequence[str], rows: Sequence[Any]) -> bytes:
    """Return a line of JSON for each user, with instants as the API writes them."""
    option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(dict(zip(names, row, strict=True)), option=option) for row in rows)


def _texts(rows: Sequence[Any]) -> Iterator[list[str]]:
    """Yield the cells of users: null is an empty text, all else is as in JSON."""
    for row in rows:
        cells = orjson.loads(orjson.dumps(list(row), option=orjson.OPT_UTC_Z))
        yield ["" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in cells]


def _csv(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
