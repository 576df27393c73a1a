"""The schema and its first row, made past the service."""

import asyncio
import tempfile
from functools import cache
from pathlib import Path

import bcrypt
import sqlalchemy as sa

from tests.support.insides import Database, Timestamp, migrations, now
from tests.support.people import ADMIN_PASSWORD


def migrate(url: str) -> None:
    """Make the schema in an empty database, as `python -m userapi migrate` does, without a process of its own.

    On SQLite the migrations run once; what they made is copied.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        _upgrade(url)
        return
    file = Path(parsed.database or "")
    assert not file.exists()
    file.touch(0o600)
    file.write_bytes(_sqlite_template())


@cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        _upgrade(f"sqlite:///{file}")
        return file.read_bytes()


def _upgrade(url: str) -> None:
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
