"""Counters in the database, which hosts and workers that have no Redis share."""

from contextlib import nullcontext
from typing import Any

import sqlalchemy
from sqlalchemy import BigInteger, ColumnElement, Connection, case, delete, literal_column, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi.kit.database import Database, RunAgain
from userapi.security.models import ThrottleCounter

CLEANUP = 100  # counters whose time is over that are forgotten with each new one, at most

# The database's clock in milliseconds since 1970: those of the hosts differ.
_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000",
}
_NOW["mariadb"] = _NOW["mysql"]


class DatabaseCounters:
    """Counters as rows; when the database does not answer, nobody can log in anyway."""

    def __init__(self, database: Database) -> None:
        """Count in a database."""
        self._database = database
        self.slots = nullcontext()  # its pool has a bound of its own

    async def add(self, key: str, seconds: float) -> int:
        """Count one more and return how many; the first begins a time of so many seconds."""
        return await self._database.write(_add, key, seconds)

    async def left(self, key: str, limit: int) -> float:
        """Return in how many seconds a counter that has reached its limit starts anew; 0 if it has not."""
        return await self._database.read(_left, key, limit)

    async def clear(self, key: str) -> None:
        """Forget a counter."""
        await self._database.write(_clear, key)


def _add(db: Session, key: str, seconds: float) -> int:
    now = _now(db.connection())
    over, ends, one = col(ThrottleCounter.ends) <= now, now + int(seconds * 1000), col(ThrottleCounter.key) == key
    counted = {
        "many": case((over, 1), else_=col(ThrottleCounter.many) + 1),
        "ends": case((over, ends), else_=col(ThrottleCounter.ends)),
    }
    # In this order: MySQL would compute the number with the new end.
    values: list[tuple[Any, Any]] = [(col(getattr(ThrottleCounter, name)), value) for name, value in counted.items()]
    if db.exec(update(ThrottleCounter).where(one).ordered_values(*values)).rowcount:
        return db.exec(select(ThrottleCounter.many).where(one)).one()
    _forget_some(db, now)
    try:
        db.exec(sqlalchemy.insert(ThrottleCounter).values(key=key, many=1, ends=ends))
    except IntegrityError as error:
        raise RunAgain from error  # another process was faster
    return 1


def _left(connection: Connection, key: str, limit: int) -> float:
    left = col(ThrottleCounter.ends) - _now(connection)
    reached = (col(ThrottleCounter.key) == key) & (col(ThrottleCounter.many) >= limit)
    found = connection.execute(sqlalchemy.select(left).where(reached)).scalar()
    return max(int(found), 0) / 1000 if found is not None else 0


def _clear(db: Session, key: str) -> None:
    db.exec(delete(ThrottleCounter).where(col(ThrottleCounter.key) == key))


def _forget_some(db: Session, now: ColumnElement[int]) -> None:
    over = select(ThrottleCounter.key).where(col(ThrottleCounter.ends) <= now).limit(CLEANUP)
    if keys := db.exec(over).all():
        # Looked at again: another may have begun one anew meanwhile.
        db.exec(delete(ThrottleCounter).where(col(ThrottleCounter.key).in_(keys), col(ThrottleCounter.ends) <= now))


def _now(connection: Connection) -> ColumnElement[int]:
    return literal_column(_NOW[connection.dialect.name], BigInteger)
