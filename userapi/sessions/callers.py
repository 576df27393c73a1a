"""Who calls: found by a token's claims, for all requests together that wait for the database at the same moment."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, bindparam, true
from sqlmodel import Session, col

from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database, require_asked
from userapi.models import USER_ROW, LoginSession, User, UserRow, column
from userapi.security.tokens import Claims
from userapi.sessions.rules import Caller

_CALLER_COLUMNS: list[Any] = [
    *USER_ROW,
    LoginSession.nonce,
    LoginSession.generation,
    LoginSession.used_generation,
    LoginSession.created_at,
    LoginSession.id,
]
_ACTIVE = (
    sqlalchemy.select(*_CALLER_COLUMNS)
    .join(LoginSession, col(LoginSession.user_id) == col(User.id))
    .where(col(User.is_active) == true())
)
_CALLER = _ACTIVE.where(col(LoginSession.id) == bindparam("session_id"), col(User.id) == bindparam("user_id"))
_CALLERS = _ACTIVE.where(col(LoginSession.id).in_(bindparam("session_ids", expanding=True)))
_STILL = sqlalchemy.select(column(User.is_admin)).where(
    column(User.id) == bindparam("user_id"),
    column(User.is_active) == true(),
    column(LoginSession.id) == bindparam("session_id"),
    column(LoginSession.user_id) == column(User.id),
)


class Callers:
    """Finds the callers of requests: on a server, those of all requests that wait for a connection by one statement.

    The way to a server and back costs as much for one as for ten. A request joins a lookup only until that begins, so
    it sees all that was committed before it came.
    """

    def __init__(self, database: Database, max_age: int) -> None:
        """`max_age` is how old a login may be for what needs a recent one, in seconds; 0 for any age."""
        self._database, self._max_age = database, max_age
        self._waiting: _Lookup | None = None

    async def find(self, claims: Claims) -> Caller | None:
        """Return the active user who is logged in with a token's session; None if the session has ended.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        if self._database.is_local:
            return await self._database.read(find_caller, claims, self._max_age)
        lookup = self._waiting
        if lookup is None:
            lookup = self._waiting = _Lookup()
            lookup.running = asyncio.create_task(self._run(lookup))
        lookup.claims.add(claims)
        found = await asyncio.shield(lookup.running)
        return found.get(claims)

    async def _run(self, lookup: "_Lookup") -> dict[Claims, Caller]:
        try:
            return await self._database.read(self._find, lookup)
        finally:
            self._close(lookup)

    def _find(self, connection: Connection, lookup: "_Lookup") -> dict[Claims, Caller]:
        self._close(lookup)
        return find_callers(connection, lookup.claims, self._max_age)

    def _close(self, lookup: "_Lookup") -> None:
        if self._waiting is lookup:
            self._waiting = None


class _Lookup:
    """A statement that is to be made: whom it asks for, and what it finds."""

    running: asyncio.Task[dict[Claims, Caller]]

    def __init__(self) -> None:
        self.claims: set[Claims] = set()


def find_caller(connection: Connection, claims: Claims, max_age: int) -> Caller | None:
    """Return the active user who is logged in with a token's session; None if the session has ended.

    `max_age` is how old a login may be for what needs a recent one, in seconds.

    Raises:
        ForeignRow: The database answered with another user or session.
    """
    row = connection.execute(_CALLER, {"user_id": claims.user_id, "session_id": claims.session_id}).one_or_none()
    if row is None:
        return None
    require_asked((row.id, row[-1]), claims[:2])
    return _caller(row, claims, max_age)


def find_callers(connection: Connection, wanted: Collection[Claims], max_age: int) -> dict[Claims, Caller]:
    """Return those who are logged in, as `find_caller` does, by their claims.

    Raises:
        ForeignRow: The database answered with another session.
    """
    ids = {claims.session_id for claims in wanted}
    rows = {row[-1]: row for row in connection.execute(_CALLERS, {"session_ids": list(ids)})}
    require_asked(ids | rows.keys(), ids)
    callers = {
        claims: _caller(rows[claims.session_id], claims, max_age) for claims in wanted if claims.session_id in rows
    }
    return {claims: caller for claims, caller in callers.items() if caller is not None}


def _caller(row: Sequence[Any], claims: Claims, max_age: int) -> Caller | None:
    """Return the caller of a row, if it is the one of these claims."""
    *columns, nonce, generation, used_generation, logged_in_at, _ = row
    user = UserRow._make(columns)
    if (user.id, nonce) != (claims.user_id, claims.nonce):
        return None
    first_use = claims.generation == generation > used_generation
    return Caller(user, claims.session_id, claims.generation, first_use, logged_in_at, max_age)


def require_still(db: Session, caller: Caller) -> None:
    """Check in a unit that the caller may do what it may have begun long ago: its request has waited for its turn.

    Raises:
        ApiError: session_ended; not_enough_permissions: it is no admin any more.
    """
    asked = {"user_id": caller.user.id, "session_id": caller.session_id}
    is_admin = db.connection().execute(_STILL, asked).scalar_one_or_none()
    if is_admin is None:
        raise ApiError(ErrorCode.SESSION_ENDED)
    if caller.user.is_admin and not is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
