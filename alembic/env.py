"""Alembic's environment: how migrations reach the database that the service's settings name, and how they are made."""

import asyncio
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from alembic.operations.ops import DropIndexOp, DropTableOp, MigrationScript, ModifyTableOps
from alembic.runtime.migration import MigrationContext
from alembic.script import write_hooks
from alembic.util import CommandError, msg
from sqlalchemy import Connection, String, Table, TypeDecorator, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import SQLModel

import userapi.services  # noqa: F401 - with the parts of a service come all tables
from alembic import context
from userapi.errors import Refusal
from userapi.kit.database import Database, driver_url
from userapi.models import Timestamp
from userapi.schema import locks, migrations, resuming
from userapi.schema.steps import remember_works_from as write_down
from userapi.settings import CoreSettings, load


class SQLite(SQLiteImpl):
    """SQLite with AUTOINCREMENT kept when a batch builds a table anew, so that a deleted id never comes again."""

    __dialect__ = "sqlite"  # takes the place of Alembic's own

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Give the new table the old one's AUTOINCREMENT and the highest id it ever had."""
        super().prep_table_for_batch(batch_impl, table)
        new = batch_impl.new_table
        if self.connection is None or self.as_sql or new is None:
            return
        names = {"old": table.name, "new": new.name}
        made_by = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :old")
        if "AUTOINCREMENT" in self.connection.execute(made_by, names).scalar_one().upper():
            new.dialect_options["sqlite"]["autoincrement"] = True
            copy = "INSERT INTO sqlite_sequence (name, seq) SELECT :new, seq FROM sqlite_sequence WHERE name = :old"
            self.connection.execute(text(copy), names)


class _CommitsEach:
    """MySQL commits each statement of a migration, and undoes none.

    So one is tried again while others keep a table locked, and what a step did before it was broken off is passed over.
    """

    as_sql: bool
    connection: Connection | None
    resumes: bool | None = None  # whether the present step was broken off before; None before its first statement

    def _exec(self, construct: Any, *args: Any, **kwargs: Any) -> Any:
        if self.as_sql or self.connection is None:
            return super()._exec(construct, *args, **kwargs)  # type: ignore[misc]  # of the class beside this one
        if self.resumes is None:
            self.resumes = resuming.begin(self.connection)
        try:
            return self._patiently(construct, *args, **kwargs)
        except DBAPIError as error:
            if not self.resumes or not resuming.is_done(self.connection, construct, error):
                raise

    def _patiently(self, *args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + locks.MIGRATION_SECONDS
        while True:
            try:
                return super()._exec(*args, **kwargs)  # type: ignore[misc]  # of the class beside this one
            except OperationalError as error:
                if error.orig is None or error.orig.args[0] != LOCK_WAIT_TIMEOUT or time.monotonic() > deadline:
                    raise
            time.sleep(migrations.LOCK_PAUSE)


class MySQL(_CommitsEach, MySQLImpl):
    """MySQL, in the place of Alembic's own."""

    __dialect__ = "mysql"


class MariaDB(_CommitsEach, MariaDBImpl):
    """MariaDB, in the place of Alembic's own."""

    __dialect__ = "mariadb"


def render_plainly(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Return the plain SQLAlchemy type to write into a migration, which must outlive the models' own types.

    Raises: CommandError, for a text without a length: MySQL makes no such column.
    """
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    if isinstance(item, Timestamp):
        autogen.imports.add("from sqlalchemy.dialects import mysql")
        return 'sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")'
    if isinstance(item.impl, String) and item.impl.length is None:
        raise CommandError("a text of the models has no length: give its type Field(max_length=...)")
    return f"sa.{item.impl!r}"


def drop_no_index_before_its_table(_context: object, _revision: object, scripts: list[MigrationScript]) -> None:
    """Leave the indexes of a table to `drop_table`: MySQL refuses to drop one that a foreign key needs."""
    for steps in [steps for script in scripts for steps in (script.upgrade_ops, script.downgrade_ops) if steps]:
        dropped = {step.table_name for step in steps.ops if isinstance(step, DropTableOp)}
        steps.ops = [
            step
            for step in steps.ops
            if not isinstance(step, ModifyTableOps)
            or step.table_name not in dropped
            or not all(isinstance(change, DropIndexOp) for change in step.ops)
        ]


@write_hooks.register("ruff")
def tidy(path: str, _options: dict[str, Any]) -> None:
    """Sort the imports of a new migration and format it."""
    if find_spec("ruff") is None:
        msg(f"ruff is not installed (see tests/requirements.txt): {path} is as Alembic wrote it")
        return
    for command in (["check", "--fix-only"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", path], check=False)  # noqa: S603


def remember_works_from(ctx: MigrationContext, heads: set[str], **_: Any) -> None:
    """Write down which versions work on the schema that a step has just made, together with the step, which is done."""
    for reached in heads:
        if (script := context.script.get_revision(reached)) is not None:
            write_down(ctx, script)
    if isinstance(ctx.impl, _CommitsEach) and ctx.connection is not None and not ctx.as_sql:
        resuming.end(ctx.connection)
        ctx.impl.resumes = None


LOCK_WAIT_TIMEOUT = 1205

OPTIONS: dict[str, Any] = {
    "target_metadata": SQLModel.metadata,
    "render_as_batch": True,
    "render_item": render_plainly,
    "process_revision_directives": drop_no_index_before_its_table,
    "on_version_apply": [remember_works_from, *context.config.attributes.get("on_step", [])],
}


# Who waits for a lock of a table holds up all that come later, and they give up after 4 s.
SHORT_WAITS = {
    "postgresql": f"SET LOCAL lock_timeout = '{migrations.LOCK_SECONDS}s'",
    "mysql": f"SET SESSION lock_wait_timeout = {migrations.LOCK_SECONDS}",
    "mariadb": f"SET SESSION lock_wait_timeout = {migrations.LOCK_SECONDS}",
}


def run_migrations(connection: Connection) -> None:
    """Run what the command asked for on a connection that holds the migration lock."""
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        migrations.require_ours(connection)
        if short_wait := SHORT_WAITS.get(connection.dialect.name):
            connection.exec_driver_sql(short_wait)
        context.run_migrations()


async def run_on_own_connection() -> None:
    """Run what the command asked for on the database that the settings name."""
    database = Database(load(CoreSettings).url)
    try:
        await migrations.change(database, run_migrations)
    finally:
        await database.close()


try:
    if context.is_offline_mode():
        context.configure(url=driver_url(load(CoreSettings).url), literal_binds=True, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()
    elif "connection" in context.config.attributes:
        run_migrations(context.config.attributes["connection"])
    else:
        asyncio.run(run_on_own_connection())
except Refusal as error:
    if "connection" in context.config.attributes:
        raise
    raise SystemExit(f"error: {error}") from None
