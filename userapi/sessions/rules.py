"""Rules about login sessions. A token is good only while the row of its session is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import Connection, bindparam, delete
from sqlmodel import Session, col, select

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import require_asked
from userapi.kit.web.client import Client
from userapi.models import LoginSession, User, UserRow, column, new_nonce, now
from userapi.security.tokens import Claims
from userapi.sessions import expiry

MAX_SESSIONS = 100  # of a user at once

_EXISTS = sqlalchemy.select(col(User.id)).where(col(User.id) == bindparam("user_id"))
# A login's own statements are of columns, too: with entities its unit took twice as long.
_USER, _SESSION = column(User.id).table, column(LoginSession.id).table
_LOCK = (
    sqlalchemy.select(column(User.id), column(User.is_active), column(User.hashed_password))
    .where(column(User.id) == bindparam("user_id"))
    .with_for_update()
)
_LOGGED_IN = sqlalchemy.update(_USER).where(column(User.id) == bindparam("user_id"))
_BEGIN = sqlalchemy.insert(_SESSION)
_ALIVE = (
    sqlalchemy.select(column(LoginSession.id))
    .where(column(LoginSession.user_id) == bindparam("user_id"), column(LoginSession.expires_at) > bindparam("at"))
    .order_by(column(LoginSession.id))
)


@dataclass(frozen=True)
class LoginSucceeded(Announcement):
    """A user has logged in with its password."""

    user_id: int
    session_id: int
    ip: str | None


@dataclass(frozen=True)
class SessionRevoked(Announcement):
    """A session was ended before its time, or the `sessions` of a user with these ids, but not the one `kept`."""

    user_id: int
    reason: str
    session_id: int | None = None
    sessions: str | None = None
    kept: int | None = None


class Caller(NamedTuple):
    """Who makes a request: an active user, the login session used, and of which generation its token is."""

    user: UserRow
    session_id: int
    generation: int
    first_use: bool  # of the session's current generation
    logged_in_at: datetime
    max_age: int  # how old a login may be for what needs a recent one, in seconds; 0 for any age

    def require_recent_login(self) -> None:
        """Check that the password was typed not long ago: a token stolen later is not enough for everything.

        Raises:
            ApiError: recent_login_required (RFC 9470).
        """
        if self.max_age and now() - self.logged_in_at > timedelta(seconds=self.max_age):
            raise ApiError(ErrorCode.RECENT_LOGIN_REQUIRED, max_age=self.max_age)


class Lifetime(NamedTuple):
    """How long a session lives: `idle` after it was last refreshed, never longer than `whole`."""

    idle: timedelta
    whole: timedelta


class Current(NamedTuple):
    """A session after a login or a refresh: what its tokens are made of."""

    session_id: int
    nonce: str
    generation: int
    rotated_at: datetime
    expires_at: datetime


def require_user(connection: Connection, user_id: int) -> None:
    """Check that there is such a user.

    Raises:
        ApiError: user_not_found.
    """
    found = connection.execute(_EXISTS, {"user_id": user_id}).scalar()
    if found is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    require_asked(found, user_id)


def begin(
    db: Session,
    user_id: int,
    verified_hash: str,
    client: Client,
    at: datetime,
    lifetime: Lifetime,
    better_hash: str | None = None,
) -> Current | None:
    """Begin a session of a user whose password was just found to have `verified_hash`, which `better_hash` replaces.

    Returns None if by now the user is gone, inactive, or has another password: the lock orders this against those
    changes. On a cluster of databases, where locks are a node's own, it is the write of the user's row that does: of
    two nodes that write one row at once, one runs again.
    """
    connection = db.connection()
    user = connection.execute(_LOCK, {"user_id": user_id}).one_or_none()
    require_asked(user.id if user else user_id, user_id)
    if user is None or not user.is_active or user.hashed_password != verified_hash:
        return None
    renewed = {} if better_hash is None else {"hashed_password": better_hash}
    connection.execute(_LOGGED_IN, {"user_id": user_id, "logged_in_at": at, **renewed})
    expiry.delete_expired(db, at)
    _make_room(db, user_id, at)
    user_agent, ip = stored(client)
    begun = Current(0, new_nonce(), 1, at, at + min(lifetime))
    row = {**begun._asdict(), "user_id": user_id, "created_at": at, "user_agent": user_agent, "ip": ip}
    del row["session_id"]  # which the database gives
    made = connection.execute(_BEGIN, row).inserted_primary_key
    session_id = made[0] if made else 0
    announce(db, LoginSucceeded(user_id, session_id, client.ip))
    return begun._replace(session_id=session_id)


def stored(client: Client) -> tuple[str | None, str | None]:
    """Return what a session keeps of the client that began or last refreshed it: the user agent and the address."""
    user_agent = (client.user_agent or "").replace("\0", "")[:255] or None
    return user_agent, client.ip and client.ip[:45]


def end(db: Session, user_id: int, session_id: int, reason: str) -> bool:
    """End one session of a user; tell whether there was one. The reason is for the log."""
    return _end(db, user_id, [session_id], SessionRevoked(user_id, reason, session_id)) == 1


def log_out(db: Session, claims: Claims) -> None:
    """End the session of a token, if it is there."""
    own = select(LoginSession.id).where(LoginSession.id == claims.session_id, LoginSession.nonce == claims.nonce)
    if db.exec(own).first() is not None:
        end(db, claims.user_id, claims.session_id, "logged out")


def end_all(db: Session, user_id: int, reason: str, *, keep: int | None = None) -> None:
    """End the user's login sessions, but for the one with the id `keep`. The reason is for the log."""
    ids = select(LoginSession.id).where(LoginSession.user_id == user_id).order_by(col(LoginSession.id))
    ended = [session_id for session_id in db.exec(ids.with_for_update()) if session_id != keep]
    _end(db, user_id, ended, SessionRevoked(user_id, reason, sessions=_listed(ended), kept=keep))


def _end(db: Session, user_id: int, ids: Sequence[int | None], revoked: SessionRevoked) -> int:
    """End these sessions of a user, and announce it if any was there; return how many were."""
    if not ids:
        return 0
    ended = delete(LoginSession).where(col(LoginSession.id).in_(ids), col(LoginSession.user_id) == user_id)
    count = db.exec(ended).rowcount
    if count:
        announce(db, revoked)
    return count


def _listed(ids: Sequence[int | None]) -> str:
    return " ".join(map(str, ids))


def _make_room(db: Session, user_id: int, at: datetime) -> None:
    """End the oldest sessions of a user who will have too many with one more."""
    alive = db.connection().scalars(_ALIVE, {"user_id": user_id, "at": at}).all()
    oldest = alive[: 1 - MAX_SESSIONS]
    _end(db, user_id, oldest, SessionRevoked(user_id, "too many sessions", sessions=_listed(oldest)))
