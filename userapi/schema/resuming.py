"""A migration that was ended midway is resumed on MySQL and MariaDB, which commit each of its statements by itself.

Before the first statement of a step a mark is written, and it goes with the step's last commit. Where it is found there
again, the step was broken off: what it finds done already, it passes over.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlmodel import col

from userapi.models import Deployment
from userapi.schema import migrations
from userapi.schema.revisions import WORKS_FROM

MARK = "migrating"  # the name under which a database keeps that a step has begun

_TABLE_THERE = 1050  # as it would be if it were another application's
# There is such a column or index already; there is no such table, column or index any more.
_DONE = {1060, 1061, 1051, 1091}


def begin(connection: Connection) -> bool:
    """Mark that a step begins; tell whether it was broken off before."""
    if not sa.inspect(connection).has_table(Deployment.__tablename__):
        return migrations.is_ours(connection)  # the first two steps have no room for a mark
    names = set(connection.scalars(sa.select(col(Deployment.name))))
    if MARK not in names:
        connection.execute(sa.insert(Deployment).values(name=MARK, value=""))
    return MARK in names or WORKS_FROM not in names


def end(connection: Connection) -> None:
    """Remove the mark, in the transaction that writes down the revision."""
    if sa.inspect(connection).has_table(Deployment.__tablename__):
        connection.execute(sa.delete(Deployment).where(col(Deployment.name) == MARK))


def is_done(connection: Connection, statement: Any, error: DBAPIError) -> bool:
    """Tell whether a statement failed because what it should do is done: a table must have the columns it is to get."""
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    if number == _TABLE_THERE and isinstance(statement, CreateTable):
        there = {column["name"] for column in sa.inspect(connection).get_columns(statement.element.name)}
        return there == {column.name for column in statement.element.columns}
    return number in _DONE
