"""Expired sessions are forgotten, a day late, and never because a clock is wrong."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy
from sqlalchemy import bindparam
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete

from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import RunAgain
from userapi.models import Deployment, LoginSession, column

CLEANUP = 100  # expired sessions forgotten with each login, at most
MARGIN = timedelta(days=1)
_WAIT = "no_cleanup_before"  # the name under which a database keeps an instant

_NEWEST = sqlalchemy.select(sqlalchemy.func.max(column(LoginSession.created_at)))
_WAIT_UNTIL = sqlalchemy.select(column(Deployment.value)).where(column(Deployment.name) == _WAIT)
_OLDEST = (
    sqlalchemy.select(column(LoginSession.id))
    .where(column(LoginSession.expires_at) < bindparam("before"))
    .order_by(column(LoginSession.expires_at))
    .limit(CLEANUP)
)


@dataclass(frozen=True)
class SessionsExpired(Announcement):
    """The sessions with these ids have expired, and are forgotten."""

    sessions: str


def delete_expired(db: Session, at: datetime) -> None:
    """Forget some sessions that expired more than a day before an instant, unless the clock may just have jumped."""
    if _may_have_jumped(db, at):
        return
    if expired := db.connection().scalars(_OLDEST, {"before": at - MARGIN}).all():
        db.exec(delete(LoginSession).where(col(LoginSession.id).in_(expired)))
        announce(db, SessionsExpired(" ".join(map(str, expired))))


def _may_have_jumped(db: Session, at: datetime) -> bool:
    """Tell whether the newest login is more than a day old, or was so at a login less than a day ago.

    It may have been quiet for so long, or a clock is ahead: then its own logins are soon the newest. Nothing is lost by
    waiting for a day; a clock that is set right until then has deleted nothing.
    """
    newest = db.connection().execute(_NEWEST).scalar_one()
    if newest is None:
        return True  # and there is nothing to forget
    if at - newest <= MARGIN:
        kept = db.connection().execute(_WAIT_UNTIL).scalar_one_or_none()
        wait_until = datetime.fromisoformat(kept) if kept else at
        return wait_until - MARGIN <= at < wait_until
    db.merge(Deployment(name=_WAIT, value=(at + MARGIN).isoformat()))
    try:
        db.flush()
    except IntegrityError as error:
        raise RunAgain from error  # another login was faster
    return True
