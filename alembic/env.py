"""Alembic's environment: how migrations reach the database that the service's settings name."""

import asyncio
from typing import Any

from sqlalchemy import Connection
from sqlmodel import SQLModel

import userapi.models  # noqa: F401 - fills the metadata
from alembic import context
from userapi.database import Database, driver_url
from userapi.settings import SettingsError, load_settings

OPTIONS: dict[str, Any] = {"target_metadata": SQLModel.metadata, "render_as_batch": True}


def run_migrations(connection: Connection) -> None:
    """Run what the command asked for on a connection that holds the migration lock."""
    on_step = context.config.attributes.get("on_step")
    context.configure(connection=connection, on_version_apply=on_step, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


async def run_on_own_connection() -> None:
    database = Database(load_settings().url)
    try:
        await database.migrate(run_migrations)
    finally:
        await database.close()


try:
    if context.is_offline_mode():
        context.configure(url=driver_url(load_settings().url), literal_binds=True, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()
    elif "connection" in context.config.attributes:
        run_migrations(context.config.attributes["connection"])
    else:
        asyncio.run(run_on_own_connection())
except SettingsError as error:
    raise SystemExit(f"error: {error}") from None
