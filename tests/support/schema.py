"""The schema and its first row, made past the service."""

import asyncio

import bcrypt
import sqlalchemy as sa

from tests.support.insides import Database, Timestamp, migrations, now
from tests.support.people import ADMIN_PASSWORD


def migrate(url: str) -> None:
    """Make the schema in an empty database, as `python -m userapi migrate` does, without a process of its own."""

    async def upgrade() -> None:
        database = Database(url)
        await migrations.upgrade(database)
        await database.close()

    asyncio.run(upgrade())


def insert_admin(connection: sa.Connection) -> None:
    """Make the admin, past the service."""
    connection.execute(
        sa.text(
            "INSERT INTO users (username, username_key, email, email_key, hashed_password,"
            " is_admin, is_active, created_at, version) VALUES ('admin', 'admin', 'admin@example.com',"
            " 'admin@example.com', :hashed, true, true, :now, 1)"
        ).bindparams(sa.bindparam("now", type_=Timestamp())),
        {"hashed": bcrypt.hashpw(ADMIN_PASSWORD.encode(), bcrypt.gensalt(4)).decode(), "now": now()},
    )
