"""The generations of a session's tokens: each refresh makes the next one, and a copy of an older one shows itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import require_asked
from userapi.kit.web.client import Client
from userapi.models import LoginSession, User
from userapi.security.tokens import Claims
from userapi.sessions.rules import Caller, Current, Lifetime, SessionRevoked, current, stored

GRACE = timedelta(seconds=10)  # parallel tabs may present the token just rotated out


@dataclass(frozen=True)
class RefreshReused(Announcement):
    """A refresh token was used again, so it was copied, and its session is ended.

    `ip` is where it came from, `session_ip` where the session was last refreshed from.
    """

    user_id: int
    session_id: int
    ip: str | None
    session_ip: str | None


def refresh(db: Session, claims: Claims, client: Client, at: datetime, lifetime: Lifetime) -> Current | None:
    """Rotate a session's refresh token, which has these claims; return None if the session has ended.

    The generation before the current gets the current one again, since an answer may be lost, until a token of the
    current is used; then only within the grace, and only for the client that had the current. Any other was stolen or
    copied, and ends the session (RFC 9700 section 4.14.2).
    """
    session = db.exec(
        select(LoginSession)
        .where(LoginSession.id == claims.session_id, LoginSession.user_id == claims.user_id)
        .with_for_update()
    ).one_or_none()
    if session is None or session.nonce != claims.nonce or session.expires_at <= at:
        return None
    user = db.get_one(User, claims.user_id)
    require_asked((user.id, session.id), claims[:2])
    if not user.is_active:
        return None
    if claims.generation == session.generation:
        session.generation += 1
        session.rotated_at = at
        session.expires_at = min(at + lifetime.idle, session.created_at + lifetime.whole)
        session.user_agent, session.ip = stored(client)
    elif not _may_repeat(session, claims.generation, client, at):
        db.delete(session)
        announce(db, RefreshReused(claims.user_id, claims.session_id, client.ip, session.ip))
        announce(db, SessionRevoked(claims.user_id, "refresh token used again", claims.session_id))
        return None
    return current(session)


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


def _may_repeat(session: LoginSession, generation: int, client: Client, at: datetime) -> bool:
    """Tell whether a refresh token that is not of the current generation gets the current one again."""
    if generation != session.generation - 1:
        return False
    if session.used_generation < session.generation:
        return True
    return stored(client) == (session.user_agent, session.ip) and at - session.rotated_at <= GRACE
