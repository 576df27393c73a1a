"""The database of an application that follows the tutorial, made past the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import bcrypt
import sqlalchemy as sa

from tests.support.databases import sync_engine
from tests.support.people import PASSWORD

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
CREATED, UPDATED = datetime(2024, 2, 29, 12, 30, 45, tzinfo=UTC), datetime(2024, 3, 1, 1, 2, 3, tzinfo=UTC)
USERS: list[dict[str, Any]] = [
    {"id": 1, "username": "admin", "email": "admin@example.com", "is_admin": True, "age": 40},
    {"id": 3, "username": "Alice_1", "email": "Alice@example.com", "updated_at": UPDATED},
    {"id": 7, "username": "bob", "email": "bob@example.com", "is_active": False},
]


def tables(*more: sa.Column[Any], counting: bool = False) -> tuple[sa.MetaData, sa.Table]:
    """The tutorial's table, with columns that somebody has added."""
    metadata = sa.MetaData()
    users = sa.Table(
        "users",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, index=True),
        sa.Column("username", sa.String(30), unique=True, index=True),
        sa.Column("email", sa.String(60), unique=True, index=True),
        sa.Column("hashed_password", sa.String(100), nullable=False),
        sa.Column("age", sa.Integer),
        sa.Column("is_admin", sa.Boolean, default=False),
        sa.Column("is_active", sa.Boolean, default=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
        sa.Column("updated_at", sa.DateTime(timezone=True)),
        *more,
        sqlite_autoincrement=counting,
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    return metadata, users


def insert(url: str, users: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Put users into the tutorial's table."""
    filled = [{"hashed_password": HASH, "created_at": CREATED} | row for row in rows]
    with connected(url) as connection:
        for row in filled:
            connection.execute(users.insert(), row)


def make(url: str, rows: list[dict[str, Any]], *, revision: str | None = "0001", counting: bool = False) -> None:
    """Make the tutorial's database, with a table of Alembic's at this revision if there is one.

    With `counting`, SQLite remembers the ids of deleted users, as others do.
    """
    metadata, users = tables(counting=counting)
    if revision is not None:
        sa.Table("alembic_version", metadata, sa.Column("version_num", sa.String(32), primary_key=True))
    with connected(url) as connection:
        metadata.create_all(connection)
        if revision is not None:
            connection.execute(metadata.tables["alembic_version"].insert(), {"version_num": revision})
    insert(url, users, rows)


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """A connection that commits at the end."""
    engine = sync_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def everything(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, to see that nothing has changed."""
    with connected(url) as connection:
        names = sorted(sa.inspect(connection).get_table_names())
        return {name: [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}"))] for name in names}
