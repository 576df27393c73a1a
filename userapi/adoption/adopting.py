"""The tutorial's table becomes the service's: all at once, or with the old table whole until the new one is."""

from dataclasses import dataclass, field
from datetime import tzinfo

import sqlalchemy as sa
from sqlalchemy import Connection, text
from sqlmodel import SQLModel, col

from userapi.adoption import found
from userapi.adoption.found import Names, ProblemError
from userapi.errors import Refusal
from userapi.kit.announcements import Announcement
from userapi.models import User
from userapi.schema import migrations
from userapi.schema.revisions import VERSION_TABLE
from userapi.users.changes import OPERATOR

OLD = "users_before_adopt"  # the tutorial's table, until all is taken over
OLD_VERSIONS = "alembic_version_before_adopt"


@dataclass(frozen=True)
class Adopted(Announcement):
    """The operator has made the tutorial's users the service's own: so many, some of them with new names."""

    users: int
    renamed: int
    by: str = OPERATOR


@dataclass
class Result:
    """What was, or would be, taken over."""

    users: int = 0
    wrong: list[str] = field(default_factory=list)  # a line each; if there are any, nothing was changed
    renamed: Names = field(default_factory=dict)
    kept: bool = False  # the old table has columns that are not taken over, and stays as OLD
    admins: bool = True  # whether somebody is an active admin


def adopt(connection: Connection, zone: tzinfo, *, rename: bool, dry_run: bool) -> Result:
    """Take the tutorial's table over; the caller holds the lock of migrations.

    MariaDB and MySQL commit each change of a table, so there the old table only steps aside until the new one holds
    every row. What breaks off before is put back, at once or by the next run.

    Raises:
        Refusal: There is nothing to adopt, or something is in the way.
    """
    if OLD in _tables(connection):
        if dry_run:
            raise Refusal("an earlier run broke off: run it again without --dry-run")
        if not _put_back(connection):
            return _finish(connection, Result(_count(connection, OLD)))
    columns = _require_tutorial(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
    users, wrong, names = found.problems(found.rows(connection, "users", columns), zone, rename=rename)
    result = Result(users, wrong, names)
    if wrong or dry_run:
        return result
    try:
        _move(connection, columns, zone, names)
    except BaseException:
        connection.rollback()
        if OLD in _tables(connection):  # MySQL has committed that
            _put_back(connection)
        raise
    return _finish(connection, result)


def _require_tutorial(connection: Connection) -> list[str]:
    """Return the columns of the tutorial's table.

    Raises:
        Refusal: It is not there, or is not that, or other tables are in the way.
    """
    inspector = sa.inspect(connection)
    tables = set(inspector.get_table_names())
    if "users" not in tables:
        raise Refusal("there is no table users to adopt: DATABASE_URL must name the tutorial's database")
    columns = [column["name"] for column in inspector.get_columns("users")]
    if migrations.is_ours(connection):
        raise Refusal("the table users is the service's own already: there is nothing to adopt")
    if missing := found.NEEDED - set(columns):
        raise Refusal(f"the table users is not the tutorial's: it has no {', '.join(sorted(missing))}")
    if clashing := tables & set(SQLModel.metadata.tables) - {"users"}:
        raise Refusal(f"other tables have names that the service needs: {', '.join(sorted(clashing))}; rename them")
    referring = [
        table
        for table in sorted(tables)
        if any(key["referred_table"] == "users" for key in inspector.get_foreign_keys(table))
    ]
    if referring:
        raise Refusal(
            f"other tables refer to users: {', '.join(referring)}; drop these foreign keys,"
            " or import the users into a database of their own: python -m userapi import --from URL"
        )
    return columns


def _move(connection: Connection, columns: list[str], zone: tzinfo, names: Names) -> None:
    """Make the service's tables, and copy all users in one transaction."""
    highest = _highest_id(connection)
    aside = {"users": OLD, VERSION_TABLE: OLD_VERSIONS}
    _rename(connection, {name: other for name, other in aside.items() if name in _tables(connection)})
    migrations.to_head(connection)
    _continue_after(connection, highest)
    waiting: list[dict[str, object]] = []
    for row in found.rows(connection, OLD, columns):
        try:
            waiting.append(found.taken_over(row, zone, names))
        except ProblemError as problem:  # it was made after the check
            raise Refusal(f"id {row['id']}: {problem}") from problem
        if len(waiting) == found.CHUNK:
            connection.execute(sa.insert(User), waiting)
            waiting.clear()
    if waiting:
        connection.execute(sa.insert(User), waiting)


def _finish(connection: Connection, result: Result) -> Result:
    """Drop the old table, now that every row of it is in the new one, unless there is more in it."""
    inspector = sa.inspect(connection)
    result.kept = bool({column["name"] for column in inspector.get_columns(OLD)} - set(found.COLUMNS))
    others = _tables(connection) - {OLD, OLD_VERSIONS, VERSION_TABLE, *SQLModel.metadata.tables}
    active_admin = sa.select(col(User.id)).where(col(User.is_admin), col(User.is_active)).limit(1)
    result.admins = connection.execute(active_admin).first() is not None
    if not result.kept:
        connection.execute(text(f"DROP TABLE {OLD}"))
        if not others:
            connection.execute(text(f"DROP TABLE IF EXISTS {OLD_VERSIONS}"))
    connection.commit()
    return result


def _put_back(connection: Connection) -> bool:
    """Put the tutorial's table back, if not every row of it is in the service's; tell whether it was.

    Raises:
        Refusal: The service was used meanwhile.
    """
    if "users" in _tables(connection):
        missing = _count(connection, f"{OLD} WHERE id NOT IN (SELECT id FROM users)")  # noqa: S608 - names of ours
        if not missing and migrations.at_head(connection):
            return False
        if _count(connection, "users"):
            raise Refusal(f"an earlier run broke off, and users were made since: delete these, {OLD} has all others")
    for table in reversed(SQLModel.metadata.sorted_tables):
        connection.execute(text(f"DROP TABLE IF EXISTS {table.name}"))
    connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))
    back = {OLD: "users", OLD_VERSIONS: VERSION_TABLE}
    _rename(connection, {name: other for name, other in back.items() if name in _tables(connection)})
    return True


def _rename(connection: Connection, names: dict[str, str]) -> None:
    """Rename tables, on MySQL all at once; elsewhere free the names of their indexes, which are the database's."""
    if connection.dialect.name in {"mysql", "mariadb"}:
        pairs = ", ".join(f"{name} TO {other}" for name, other in names.items())
        connection.execute(text(f"RENAME TABLE {pairs}"))
        return
    for name, other in names.items():
        if connection.dialect.name == "postgresql":
            listed = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = :table"
            change = 'ALTER INDEX "{0}" RENAME TO "before_{0:.56}"'
        else:
            listed = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = :table"
            change = 'DROP INDEX "{0}"'
        for index in connection.execute(text(listed), {"table": name}).scalars().all():
            connection.exec_driver_sql(change.format(index))
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))


def _highest_id(connection: Connection) -> int:
    """Return the highest id that a user ever had, as far as the database remembers it."""
    remembered = {
        "postgresql": "SELECT pg_sequence_last_value(pg_get_serial_sequence('users', 'id')::regclass)",
        "sqlite": "SELECT max(seq) FROM sqlite_sequence WHERE name = 'users'",
    }.get(
        connection.dialect.name,
        "SELECT AUTO_INCREMENT - 1 FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = 'users'",
    )
    highest = connection.execute(text("SELECT max(id) FROM users")).scalar() or 0
    if connection.dialect.name == "sqlite" and not _count(connection, "sqlite_master WHERE name = 'sqlite_sequence'"):
        return int(highest)  # no table of it counts
    return max(int(highest), int(connection.execute(text(remembered)).scalar() or 0))


def _continue_after(connection: Connection, highest: int) -> None:
    """Have the next user get an id above the highest one."""
    if not highest:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('users', 'id'), {highest})"))
    elif connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = 'users'"))
        connection.execute(text(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('users', {highest})"))  # noqa: S608
    else:
        connection.execute(text(f"ALTER TABLE users AUTO_INCREMENT = {highest + 1}"))


def _tables(connection: Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def _count(connection: Connection, rows: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {rows}")).scalar_one())  # noqa: S608 - names of ours
