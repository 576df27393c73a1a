"""Expired sessions are forgotten, a day late, and never because a clock is wrong."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select

from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import RunAgain
from userapi.models import Deployment, LoginSession

CLEANUP = 100  # expired sessions forgotten with each login, at most
MARGIN = timedelta(days=1)
_WAIT = "no_cleanup_before"  # the name under which a database keeps an instant

_NEWEST = select(sqlalchemy.func.max(col(LoginSession.created_at)))


@dataclass(frozen=True)
class SessionsExpired(Announcement):
    """The sessions with these ids have expired, and are forgotten."""

    sessions: str


def delete_expired(db: Session, at: datetime) -> None:
    """Forget some sessions that expired more than a day before an instant, unless the clock may just have jumped."""
    if _may_have_jumped(db, at):
        return
    oldest = select(LoginSession.id).where(LoginSession.expires_at < at - MARGIN)
    if expired := db.exec(oldest.order_by(col(LoginSession.expires_at)).limit(CLEANUP)).all():
        db.exec(delete(LoginSession).where(col(LoginSession.id).in_(expired)))
        announce(db, SessionsExpired(" ".join(map(str, expired))))


def _may_have_jumped(db: Session, at: datetime) -> bool:
    """Tell whether the newest login is more than a day old, or was so at a login less than a day ago.

    It may have been quiet for so long, or a clock is ahead: then its own logins are soon the newest. Nothing is lost by
    waiting for a day; a clock that is set right until then has deleted nothing.
    """
    newest = db.exec(_NEWEST).one()
    if newest is None:
        return True  # and there is nothing to forget
    if at - newest <= MARGIN:
        kept = db.get(Deployment, _WAIT)
        wait_until = datetime.fromisoformat(kept.value) if kept else at
        return wait_until - MARGIN <= at < wait_until
    db.merge(Deployment(name=_WAIT, value=(at + MARGIN).isoformat()))
    try:
        db.flush()
    except IntegrityError as error:
        raise RunAgain from error  # another login was faster
    return True
