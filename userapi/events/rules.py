"""Rules about events: an announcement becomes a row, in the unit of what it tells; deleted users take theirs along."""

from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, delete, or_, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from userapi.events.models import OPERATOR, Event, EventName
from userapi.kit import logs
from userapi.kit.announcements import Announcement
from userapi.kit.database import RunAgain
from userapi.kit.database.faults import is_conflict, is_disconnect
from userapi.kit.web import addresses
from userapi.models import Deployment, User, now
from userapi.proof.guards import NewDevice
from userapi.sessions.generations import RefreshReused
from userapi.sessions.rules import LoginSucceeded, SessionRevoked
from userapi.users.rules import UserDeleted

AT_ONCE = 500  # rows that one unit deletes or erases at most: SQLite holds the event loop meanwhile
MARGIN = timedelta(days=1)  # beyond the days that events are kept: clocks differ

_INSERT = sqlalchemy.insert(Event)
_OWN_COLUMNS = {"user_id", "session_id", "by", "ip", "changes", "fields"}  # have columns, or are said by `changes`
_OLDEST = sqlalchemy.select(col(Event.at)).order_by(col(Event.at)).limit(1)
_COUNTED = {EventName.LOGIN_FAILED, EventName.LOGIN_LOCKED}  # by minute, see `Counted`
_IN_UNIT = frozenset(EventName) - _COUNTED
# What logins, refreshing and logging out announce: an event never fails these.
AT_LOGIN: tuple[type[Announcement], ...] = (LoginSucceeded, NewDevice, SessionRevoked, RefreshReused)
# The id of a request in which such an event could not be written: it does without, and they are written later.
_postponed: ContextVar[str | None] = ContextVar("events_postponed", default=None)


class Counted(NamedTuple):
    """What is not written down each time, but counted by the minute: an attacker decides how often it happens."""

    minute: datetime
    name: str
    user_id: int | None
    address: str | None


def listen(services: Any) -> None:
    """Subscribe to what is announced in units, given the services."""
    services.announcements.inside_unit(Announcement, _write)
    services.announcements.inside_unit(UserDeleted, lambda db, deleted: _erase_with(db, deleted.user_id))


def row_of(announcement: Announcement) -> dict[str, Any]:
    """Return the row of an announcement: who did it is what it says itself, else the caller or the command."""
    told = announcement.told
    caller, command = logs.caller.get(), logs.command.get()
    actor = told.get("by") or (caller[0] if caller else None)
    if isinstance(announcement, LoginSucceeded):
        actor = announcement.user_id
    if command is not None or actor == "operator":
        actor = OPERATOR
    details = {name: value for name, value in told.items() if name not in _OWN_COLUMNS}
    details |= {"command": command} if command is not None else {}
    changes = getattr(announcement, "changes", None)
    return {
        "at": now(),
        "name": announcement.name,
        "actor_id": actor,
        "user_id": told.get("user_id"),
        "session_id": told.get("session_id") or (caller[1] if caller else None),
        "address": addresses.plain(told.get("ip") or logs.address.get()),
        "user_agent": (logs.user_agent.get() or "").replace("\0", "")[:255] or None,
        "request_id": logs.request_id.get(),
        "changes": changes and {name: {"old": old, "new": new} for name, (old, new) in changes.items()},
        "details": details or None,
    }


def write(db: Session, row: dict[str, Any]) -> None:
    """Write an event."""
    db.connection().execute(_INSERT, row)


def write_late(db: Session, row: dict[str, Any]) -> None:
    """Write an event of a while ago; if its user has been deleted since, without what went with the user."""
    if row["user_id"] not in _still_there(db, {row["user_id"]}):
        row = row | {"address": None, "user_agent": None, "details": None}
    write(db, row)


def is_postponed() -> bool:
    """Tell whether the events of this request are written later, as they could not be in their unit."""
    return _postponed.get() == (logs.request_id.get() or "")


def add_counts(db: Session, counts: Sequence[tuple[Counted, int]]) -> None:
    """Add to the events of their minutes how often each of these happened; an address goes with its user."""
    turn = select(Deployment.name).where(Deployment.name == "issuer")
    db.exec(turn.with_for_update()).all()  # of processes that count the same, one goes after the other
    there = _still_there(db, {counted.user_id for counted, _ in counts})
    for counted, many in counts:
        address = counted.address if counted.user_id in there else None
        same = (Event.at == counted.minute, Event.name == counted.name, Event.user_id == counted.user_id)
        found = db.exec(select(Event).where(*same, Event.address == address).limit(1)).first()
        event = found or Event(at=counted.minute, name=counted.name, user_id=counted.user_id, address=address)
        event.details = {"count": (event.details or {"count": 0})["count"] + many}
        db.add(event)


def expiry(connection: Connection, days: int, at: datetime) -> datetime | None:
    """Return before when events are to be deleted: those older than so many days and a margin, of one day at most.

    Of one day, the oldest that there is: a clock that jumps ahead costs as little as that until somebody notices.
    """
    oldest = connection.execute(_OLDEST).scalar_one_or_none()
    return oldest and min(at - timedelta(days=days) - MARGIN, oldest + timedelta(days=1))


def delete_before(db: Session, limit: datetime) -> bool:
    """Delete some events of before an instant, the oldest first; tell whether there may be more."""
    expired = select(Event.id).where(Event.at < limit).order_by(col(Event.at), col(Event.id)).limit(AT_ONCE)
    if ids := db.exec(expired).all():
        db.exec(delete(Event).where(col(Event.id).in_(ids)))
    return len(ids) == AT_ONCE


def erase_rest(db: Session) -> bool:
    """Go on erasing what a user deleted of late left; tell whether there may be more to erase."""
    lately = (col(Event.name) == EventName.USER_DELETED) & (col(Event.at) > now() - timedelta(days=30))
    event = db.exec(select(Event).where(lately, col(Event.details).is_not(None)).limit(1).with_for_update()).first()
    if event is None or event.user_id is None:
        return False
    if not _erase(db, event.user_id):
        event.details = None
        db.add(event)
    return True


def _still_there(db: Session, user_ids: set[int | None]) -> set[int | None]:
    """Return those who are users, and nobody; none of them is deleted before this unit ends."""
    found = select(User.id).where(col(User.id).in_(user_ids - {None})).order_by(col(User.id))
    return {None, *db.exec(found.with_for_update(read=True, key_share=True))}


def _write(db: Session, announcement: Announcement) -> None:
    if announcement.name not in _IN_UNIT:
        return
    if is_postponed():
        return
    try:
        write(db, row_of(announcement))
    except DBAPIError as error:
        needed = logs.caller.get() is not None or not isinstance(announcement, AT_LOGIN)
        if needed or is_disconnect(error) or is_conflict(error):
            raise
        _postponed.set(logs.request_id.get() or "")
        raise RunAgain from error


def _erase_with(db: Session, user_id: int) -> None:
    """Erase what events tell of a user who is deleted; leave a mark if that is too much for one unit."""
    if _erase(db, user_id):
        mark = update(Event).where(col(Event.user_id) == user_id, col(Event.name) == EventName.USER_DELETED)
        db.exec(mark.values(details={"erasing": True}))


def _erase(db: Session, user_id: int) -> bool:
    """Erase a user's addresses, user agents, old and new values from events; tell whether there may be more to erase.

    What an admin did to the user keeps the admin's address; what the user did to others keeps their values.
    """
    about, by_nobody = col(Event.user_id) == user_id, col(Event.actor_id).is_(None)
    changed = about & (col(Event.name) != EventName.USER_DELETED)
    what, where = {"changes": None, "details": None}, {"address": None, "user_agent": None}
    most = 0
    by_user = col(Event.actor_id) == user_id
    for events, nothing in ((changed, what), (about & by_nobody, where), (by_user, where)):
        there = or_(*(getattr(Event, name).is_not(None) for name in nothing))
        ids = db.exec(select(Event.id).where(events, there).limit(AT_ONCE)).all()
        db.exec(update(Event).where(col(Event.id).in_(ids)).values(nothing))
        most = max(most, len(ids))
    return most == AT_ONCE
