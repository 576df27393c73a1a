"""Rules about login sessions. A token is good only while the row of its session is there."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, bindparam, delete, true
from sqlmodel import Session, col, select

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, announce
from userapi.kit.web.client import Client
from userapi.models import USER_ROW, LoginSession, SessionPublic, User, UserRow

GRACE = timedelta(seconds=10)  # parallel tabs may present the token just rotated out
CLEANUP = 100  # expired sessions forgotten with each login, at most

_CALLER = (
    sqlalchemy.select(*USER_ROW)
    .join(LoginSession, col(LoginSession.user_id) == col(User.id))
    .where(
        col(LoginSession.id) == bindparam("session_id"),
        col(User.id) == bindparam("user_id"),
        col(User.is_active) == true(),
    )
)
_EXISTS = sqlalchemy.select(col(User.id)).where(col(User.id) == bindparam("user_id"))
_SHOWN: tuple[Any, ...] = (
    LoginSession.id,
    LoginSession.created_at,
    LoginSession.rotated_at,
    LoginSession.expires_at,
    LoginSession.user_agent,
    LoginSession.ip,
)


@dataclass(frozen=True)
class SessionRevoked(Announcement):
    """A session was ended before its time, or so many `sessions` of a user but the one `kept`."""

    user_id: int
    session_id: int | None = None
    sessions: int | None = None
    kept: int | None = None
    reason: str | None = None


class Caller(NamedTuple):
    """Who makes a request: an active user, and the login session used."""

    user: UserRow
    session_id: int


class Lifetime(NamedTuple):
    """How long a session lives: `idle` after it was last refreshed, never longer than `whole`."""

    idle: timedelta
    whole: timedelta


class Current(NamedTuple):
    """A session after a login or a refresh: what its tokens are made of."""

    session_id: int
    generation: int
    rotated_at: datetime
    expires_at: datetime


def find_caller(connection: Connection, user_id: int, session_id: int) -> Caller | None:
    """Return the active user who is logged in with this session; None if the session has ended."""
    row = connection.execute(_CALLER, {"user_id": user_id, "session_id": session_id}).one_or_none()
    return None if row is None else Caller(UserRow._make(row), session_id)


def require_user(connection: Connection, user_id: int) -> None:
    """Check that there is such a user.

    Raises:
        ApiError: user_not_found.
    """
    if connection.execute(_EXISTS, {"user_id": user_id}).first() is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)


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
    changes.
    """
    user = db.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None or not user.is_active or user.hashed_password != verified_hash:
        return None
    if better_hash is not None:
        user.hashed_password = better_hash
    _delete_expired(db, at)
    begun = LoginSession(
        user_id=user_id,
        created_at=at,
        rotated_at=at,
        expires_at=at + min(lifetime),
        user_agent=(client.user_agent or "").replace("\0", "")[:255] or None,
        ip=client.ip and client.ip[:45],
    )
    db.add(begun)
    db.flush()
    return _current(begun)


def refresh(
    db: Session, user_id: int, session_id: int, generation: int, at: datetime, lifetime: Lifetime
) -> Current | None:
    """Rotate a session's refresh token, of which `generation` was presented; return None if the session has ended.

    The generation before the current, within the grace, gets the current one again. An older one was stolen or
    copied, and ends the session (RFC 9700 section 4.14.2).
    """
    session = db.exec(
        select(LoginSession).where(LoginSession.id == session_id, LoginSession.user_id == user_id).with_for_update()
    ).one_or_none()
    if session is None or session.expires_at <= at or not db.get_one(User, user_id).is_active:
        return None
    if generation == session.generation:
        session.generation += 1
        session.rotated_at = at
        session.expires_at = min(at + lifetime.idle, session.created_at + lifetime.whole)
    elif generation != session.generation - 1 or at - session.rotated_at > GRACE:
        db.delete(session)
        announce(db, SessionRevoked(user_id, session_id, reason="refresh token used again"))
        return None
    return _current(session)


def find_all(
    connection: Connection, user_id: int, at: datetime, current: int, page: int, page_size: int
) -> list[SessionPublic]:
    """Return a page of a user's sessions that are alive at an instant, the newest first.

    `current` is the id of the session that asks; `page` is counted from 1.
    """
    alive = sqlalchemy.select(*_SHOWN).where(col(LoginSession.user_id) == user_id, col(LoginSession.expires_at) > at)
    newest = alive.order_by(col(LoginSession.id).desc()).limit(page_size).offset((page - 1) * page_size)
    return [
        SessionPublic(
            id=row.id,
            created_at=row.created_at,
            last_used_at=row.rotated_at,
            expires_at=row.expires_at,
            user_agent=row.user_agent,
            ip=row.ip,
            current=row.id == current,
        )
        for row in connection.execute(newest)
    ]


def end(db: Session, user_id: int, session_id: int) -> bool:
    """End one session of a user; tell whether there was one."""
    one = delete(LoginSession).where(col(LoginSession.id) == session_id, col(LoginSession.user_id) == user_id)
    ended = db.exec(one).rowcount == 1
    if ended:
        announce(db, SessionRevoked(user_id, session_id))
    return ended


def end_all(db: Session, user_id: int, *, keep: int | None = None) -> None:
    """End the user's login sessions, but for the one with the id `keep`."""
    ended = delete(LoginSession).where(col(LoginSession.user_id) == user_id)
    if keep is not None:
        ended = ended.where(col(LoginSession.id) != keep)
    if count := db.exec(ended).rowcount:
        announce(db, SessionRevoked(user_id, sessions=count, kept=keep))


def _current(session: LoginSession) -> Current:
    return Current(session.id or 0, session.generation, session.rotated_at, session.expires_at)


def _delete_expired(db: Session, at: datetime) -> None:
    oldest = select(LoginSession.id).where(LoginSession.expires_at < at).order_by(col(LoginSession.expires_at))
    if expired := db.exec(oldest.limit(CLEANUP)).all():
        db.exec(delete(LoginSession).where(col(LoginSession.id).in_(expired)))
