"""The generations of a session's tokens: each refresh makes the next one, and a copy of an older one shows itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, bindparam, update
from sqlmodel import Session, col

from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import require_asked
from userapi.kit.web.client import Client
from userapi.models import LoginSession, User, column
from userapi.security.tokens import Claims
from userapi.sessions.rules import Caller, Current, Lifetime, SessionRevoked, stored

GRACE = timedelta(seconds=10)  # parallel tabs may present the token just rotated out


class _Session(NamedTuple):
    """A session as a refresh locks it."""

    id: int
    nonce: str
    generation: int
    used_generation: int
    created_at: datetime
    rotated_at: datetime
    expires_at: datetime
    user_agent: str | None
    ip: str | None


# Statements of columns, as refreshing is what clients do most often after reading: entities would cost twice as much.
_COLUMNS: list[Any] = [getattr(LoginSession, name) for name in _Session._fields]
_TABLE = column(LoginSession.id).table
_IS_IT = (col(LoginSession.id) == bindparam("session_id")) & (col(LoginSession.user_id) == bindparam("user_id"))
_LOCK = sqlalchemy.select(*_COLUMNS).where(_IS_IT).with_for_update()
_USER = sqlalchemy.select(col(User.id), col(User.is_active)).where(col(User.id) == bindparam("user_id"))
_ROTATE = sqlalchemy.update(_TABLE).where(column(LoginSession.id) == bindparam("session_id"))
_END = sqlalchemy.delete(_TABLE).where(column(LoginSession.id) == bindparam("session_id"))


@dataclass(frozen=True)
class RefreshReused(Announcement):
    """A refresh token was used again, so it was copied, and its session is ended.

    `ip` is where it came from, `session_ip` where the session was last refreshed from.
    """

    user_id: int
    session_id: int
    ip: str | None
    session_ip: str | None


class CopyFoundError(Exception):
    """A refresh token was copied, but the unit cannot end its session before it has locked the user."""


def refresh(
    db: Session, claims: Claims, client: Client, at: datetime, lifetime: Lifetime, *, user_first: bool = False
) -> Current | None:
    """Rotate a session's refresh token, which has these claims; return None if the session has ended.

    The generation before the current gets the current one again, since an answer may be lost, until a token of the
    current is used; then only within the grace, and only for the client that had the current. Any other was stolen or
    copied, and ends the session (RFC 9700 section 4.14.2). That writes a mail, whose foreign key locks the user; and
    whoever changes a user locks it before its sessions. So does a run that is to end one: `user_first`.

    Raises:
        CopyFoundError: It must run again with `user_first`.
    """
    connection, which = db.connection(), {"session_id": claims.session_id, "user_id": claims.user_id}
    if user_first:
        connection.execute(_USER.with_for_update(), which)
    row = connection.execute(_LOCK, which).one_or_none()
    if row is None:
        return None
    session = _Session._make(row)
    if session.nonce != claims.nonce or session.expires_at <= at:
        return None
    user_id, is_active = connection.execute(_USER, which).one()
    require_asked((user_id, session.id), claims[:2])
    if not is_active:
        return None
    if claims.generation == session.generation:
        session = _rotate(connection, session, client, at, lifetime)
    elif not _may_repeat(session, claims.generation, client, at):
        if not user_first:
            raise CopyFoundError
        connection.execute(_END, which)
        announce(db, RefreshReused(claims.user_id, claims.session_id, client.ip, session.ip))
        announce(db, SessionRevoked(claims.user_id, "refresh token used again", claims.session_id))
        return None
    return Current(session.id, session.nonce, session.generation, session.rotated_at, session.expires_at)


def note_use(db: Session, session_id: int, generation: int) -> None:
    """Note that a token of a session's current generation was used: the answer that brought it was not lost."""
    session = update(LoginSession).where(col(LoginSession.id) == session_id)
    unknown = session.where(col(LoginSession.generation) == generation, col(LoginSession.used_generation) < generation)
    db.exec(unknown.values(used_generation=generation))


def raise_generation(db: Session, caller: Caller, at: datetime) -> None:
    """Make the tokens that a caller has ones of the generation before the current; they go on from there once.

    Copies of older ones are worth nothing from then on, and so is a copy of this one when the session is refreshed.
    """
    session = update(LoginSession).where(
        col(LoginSession.id) == caller.session_id, col(LoginSession.generation) <= caller.generation
    )
    db.exec(session.values(generation=caller.generation + 1, rotated_at=at))


def _rotate(connection: Connection, session: _Session, client: Client, at: datetime, lifetime: Lifetime) -> _Session:
    """Begin the next generation of a session, and return the session as it is then."""
    user_agent, ip = stored(client)
    rotated: dict[str, Any] = {
        "generation": session.generation + 1,
        "rotated_at": at,
        "expires_at": min(at + lifetime.idle, session.created_at + lifetime.whole),
    }
    connection.execute(_ROTATE, {"session_id": session.id, **rotated, "user_agent": user_agent, "ip": ip})
    return session._replace(**rotated)


def _may_repeat(session: _Session, generation: int, client: Client, at: datetime) -> bool:
    """Tell whether a refresh token that is not of the current generation gets the current one again."""
    if generation != session.generation - 1:
        return False
    if session.used_generation < session.generation:
        return True
    return stored(client) == (session.user_agent, session.ip) and at - session.rotated_at <= GRACE
