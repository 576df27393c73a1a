"""Rules about login sessions. A token is good only while the row of its session is there."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, Row, bindparam, delete, true
from sqlmodel import Session, col, select

from userapi.columns import SESSIONS, TAGGED_COLUMNS, USERS
from userapi.database import note
from userapi.models import LoginSession, User

GRACE = timedelta(seconds=10)  # parallel tabs may present the token just rotated out
CLEANUP = 100  # expired sessions forgotten with each login, at most

_CALLER = (
    sqlalchemy.select(*TAGGED_COLUMNS)
    .join_from(USERS.id.table, SESSIONS.id.table, SESSIONS.user_id == USERS.id)
    .where(SESSIONS.id == bindparam("session_id"), USERS.id == bindparam("user_id"), USERS.is_active == true())
)


class Client(NamedTuple):
    """Where a login comes from."""

    user_agent: str | None
    ip: str | None


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


def caller(connection: Connection, user_id: int, session_id: int) -> Row[Any] | None:
    """Give the public columns and the version of an active user who is logged in with this session."""
    return connection.execute(_CALLER, {"user_id": user_id, "session_id": session_id}).one_or_none()


def begin(
    session: Session,
    user_id: int,
    verified_hash: str,
    client: Client,
    at: datetime,
    lifetime: Lifetime,
    better_hash: str | None = None,
) -> Current | None:
    """Begin a session of a user whose password was just found to have `verified_hash`, which `better_hash` replaces.

    None, if by now the user is gone, inactive, or has another password: the lock orders this against those changes.
    """
    user = session.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None or not user.is_active or user.hashed_password != verified_hash:
        return None
    if better_hash is not None:
        user.hashed_password = better_hash
    _delete_expired(session, at)
    begun = LoginSession(
        user_id=user_id,
        created_at=at,
        rotated_at=at,
        expires_at=at + min(lifetime),
        user_agent=(client.user_agent or "").replace("\0", "")[:255] or None,
        ip=client.ip and client.ip[:45],
    )
    session.add(begun)
    session.flush()
    return _current(begun)


def refresh(
    session: Session, user_id: int, session_id: int, generation: int, at: datetime, lifetime: Lifetime
) -> Current | None:
    """Rotate a session's refresh token, of which `generation` was presented.

    The one before the current, within the grace, gets the current one again; an older one was stolen or copied, and
    ends the session. None, if the session has ended.
    """
    found = session.exec(
        select(LoginSession).where(LoginSession.id == session_id, LoginSession.user_id == user_id).with_for_update()
    ).one_or_none()
    if found is None or found.expires_at <= at or not session.get_one(User, user_id).is_active:
        return None
    if generation == found.generation:
        found.generation += 1
        found.rotated_at = at
        found.expires_at = min(at + lifetime.idle, found.created_at + lifetime.whole)
    elif generation != found.generation - 1 or at - found.rotated_at > GRACE:
        session.delete(found)
        note(session, "session_revoked", user_id=user_id, session_id=session_id, reason="refresh token used again")
        return None
    return _current(found)


def find_all(connection: Connection, user_id: int, at: datetime, page: int, page_size: int) -> Sequence[Row[Any]]:
    """Give the columns of a user's sessions, the newest first."""
    alive = sqlalchemy.select(SESSIONS.id.table).where(SESSIONS.user_id == user_id, SESSIONS.expires_at > at)
    newest = alive.order_by(SESSIONS.id.desc())
    return connection.execute(newest.limit(page_size).offset((page - 1) * page_size)).all()


def end(session: Session, user_id: int, session_id: int) -> bool:
    """End one session of a user; tell whether there was one."""
    one = delete(LoginSession).where(col(LoginSession.id) == session_id, col(LoginSession.user_id) == user_id)
    ended = session.exec(one).rowcount == 1
    if ended:
        note(session, "session_revoked", user_id=user_id, session_id=session_id)
    return ended


def end_all(session: Session, user_id: int, *, keep: int | None = None) -> None:
    """End the user's login sessions, but for the one with the id `keep`."""
    ended = delete(LoginSession).where(col(LoginSession.user_id) == user_id)
    if keep is not None:
        ended = ended.where(col(LoginSession.id) != keep)
    if count := session.exec(ended).rowcount:
        note(session, "session_revoked", user_id=user_id, sessions=count, kept=keep)


def _current(found: LoginSession) -> Current:
    return Current(found.id or 0, found.generation, found.rotated_at, found.expires_at)


def _delete_expired(session: Session, at: datetime) -> None:
    oldest = select(LoginSession.id).where(LoginSession.expires_at < at).order_by(col(LoginSession.expires_at))
    if expired := session.exec(oldest.limit(CLEANUP)).all():
        session.exec(delete(LoginSession).where(col(LoginSession.id).in_(expired)))
