"""What must not come back with an older copy of the database."""

from dataclasses import dataclass

from sqlmodel import Session, col, delete, select

from userapi.kit.announcements import Announcement, announce
from userapi.models import LoginSession
from userapi.users.changes import OPERATOR


@dataclass(frozen=True)
class BackedUp(Announcement):
    """The operator has the database copied."""

    by: str = OPERATOR


@dataclass(frozen=True)
class AllSessionsEnded(Announcement):
    """The operator has ended everybody's sessions: so many with this step."""

    sessions: int
    by: str = OPERATOR


def end_everybodys(db: Session, most: int) -> int:
    """End so many sessions, whosever they are; return how many there were. Repeated until there is none."""
    some = db.exec(select(LoginSession.id).order_by(col(LoginSession.id)).limit(most).with_for_update()).all()
    if some:
        db.exec(delete(LoginSession).where(col(LoginSession.id) <= some[-1]))
        announce(db, AllSessionsEnded(len(some)))
    return len(some)
