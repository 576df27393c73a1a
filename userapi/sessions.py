"""Rules about login sessions. A token is good only while the row of its session is there."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, delete, true
from sqlmodel import Session, col, select

from userapi.models import LoginSession, User, UserPublic

PUBLIC_COLUMNS: list[Any] = [getattr(User, name) for name in UserPublic.model_fields] + [User.version]

_CALLER = (
    select(*PUBLIC_COLUMNS)
    .join(LoginSession, col(LoginSession.user_id) == col(User.id))
    .where(LoginSession.id == bindparam("session_id"), User.id == bindparam("user_id"), col(User.is_active) == true())
)


class Client(NamedTuple):
    """Where a login comes from."""

    user_agent: str | None
    ip: str | None


def caller(session: Session, user_id: int, session_id: int) -> Row[Any] | None:
    """Give the public columns and the version of an active user who is logged in with this session."""
    row: Row[Any] | None = session.exec(_CALLER, params={"user_id": user_id, "session_id": session_id}).one_or_none()
    return row


def open_session(
    session: Session, user_id: int, verified_hash: str, client: Client, at: datetime, until: datetime
) -> int | None:
    """Begin a login session of a user whose password was just found to have `verified_hash`; give its id.

    None, if by now the user is gone, inactive, or has another password: the lock orders this against those changes.
    """
    user = session.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None or not user.is_active or user.hashed_password != verified_hash:
        return None
    opened = LoginSession(
        user_id=user_id,
        created_at=at,
        rotated_at=at,
        expires_at=until,
        user_agent=(client.user_agent or "")[:255] or None,
        ip=client.ip,
    )
    session.add(opened)
    session.flush()
    return opened.id


def end_all(session: Session, user_id: int, *, keep: int | None = None) -> None:
    """End the user's login sessions, but for the one with the id `keep`."""
    ended = delete(LoginSession).where(col(LoginSession.user_id) == user_id)
    if keep is not None:
        ended = ended.where(col(LoginSession.id) != keep)
    session.exec(ended)


def delete_expired(session: Session, at: datetime) -> None:
    """Forget the sessions that expired before `at`."""
    session.exec(delete(LoginSession).where(col(LoginSession.expires_at) < at))
