"""Rules that guard accounts: guesses of the current password, devices that logged in before, what was unlocked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy
from sqlalchemy import Connection, bindparam, delete
from sqlmodel import Session, col, select

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import require_asked
from userapi.kit.web import addresses
from userapi.kit.web.client import Client
from userapi.models import User
from userapi.proof.models import KnownDevice, PasswordGuesses, Unlock
from userapi.security.throttle import LONG_LOCK, doubling_lock

GUESSES = 10  # wrong current passwords in a row; they lock for 15 minutes
PATIENCE = 20  # of them; from there on each locks, and for twice as long as the one before
CLOCKS_DIFFER = timedelta(seconds=30)  # those of several hosts, at most
MOST_DEVICES = 20  # known of a user; the one that logged in first is forgotten

_KNOWN = sqlalchemy.select(col(KnownDevice.user_id)).where(
    col(KnownDevice.user_id) == bindparam("user_id"), col(KnownDevice.device) == bindparam("device")
)


@dataclass(frozen=True)
class LoginLocked(Announcement):
    """Wrong passwords have locked an account for so many seconds, for strangers or for its own sessions."""

    user_id: int | None
    seconds: int
    ip: str | None = None


@dataclass(frozen=True)
class LoginUnlocked(Announcement):
    """The operator has let a user log in again, or an address; or a user has set a new password by mail."""

    user_id: int | None
    unlocked_ip: str | None


@dataclass(frozen=True)
class NewDevice(Announcement):
    """A user has logged in by a network and a user agent that its account has not seen together. Not the first."""

    user_id: int
    ip: str | None
    user_agent: str | None = field(repr=False)


def guess(db: Session, user_id: int, at: datetime) -> int:
    """Count a guess of a user's current password before it is looked at; a right one is forgiven afterwards.

    Returns the seconds to wait if none may be made now, else 0. The lock of the user's row orders guesses of all
    processes, so not one more is made than there may be.

    Raises:
        ApiError: session_ended: there is no such user any more.
    """
    if db.exec(select(User.id).where(User.id == user_id).with_for_update()).one_or_none() is None:
        raise ApiError(ErrorCode.SESSION_ENDED)  # the user has been deleted meanwhile
    found = db.get(PasswordGuesses, user_id) or PasswordGuesses(user_id=user_id)
    require_asked(found.user_id, user_id)
    if found.locked_until is not None and found.locked_until > at:
        longest = timedelta(seconds=doubling_lock(found.failures, PATIENCE, LONG_LOCK))
        if found.locked_until - at > longest + CLOCKS_DIFFER:  # a clock was ahead, or this one was set back
            found.locked_until = at + longest
        return int((found.locked_until - at).total_seconds()) + 1
    found.failures += 1
    if found.failures % GUESSES == 0 or found.failures > PATIENCE:
        seconds = doubling_lock(found.failures, PATIENCE, LONG_LOCK)
        found.locked_until = at + timedelta(seconds=seconds)
        announce(db, LoginLocked(user_id, seconds))
    db.add(found)
    return 0


def forgive_guesses(db: Session, user_id: int) -> None:
    """Forget the wrong guesses of a user's current password."""
    db.exec(delete(PasswordGuesses).where(col(PasswordGuesses.user_id) == user_id))


def is_known(connection: Connection, user_id: int, client: Client) -> bool:
    """Tell whether a user has logged in from this network with this user agent before."""
    return connection.execute(_KNOWN, {"user_id": user_id, "device": _device(client)}).first() is not None


def remember(db: Session, user_id: int, client: Client, at: datetime) -> None:
    """Keep in mind that a user, whose row this unit has locked, has logged in from here."""
    if client.ip is None or db.get(KnownDevice, (user_id, _device(client))) is not None:
        return
    of_user = select(KnownDevice).where(KnownDevice.user_id == user_id)
    compared = db.exec(of_user.limit(1)).first() is not None
    for old in db.exec(of_user.order_by(col(KnownDevice.at).desc()).offset(MOST_DEVICES - 1).limit(100)):
        db.delete(old)
    db.add(KnownDevice(user_id=user_id, device=_device(client), at=at))
    if compared:
        announce(db, NewDevice(user_id, client.ip, client.user_agent))


def unlocked(connection: Connection, keys: Sequence[str]) -> list[tuple[str, datetime]]:
    """Return which of these keys of the throttle the operator has unlocked, and when."""
    found = sqlalchemy.select(col(Unlock.key), col(Unlock.at)).where(col(Unlock.key).in_(keys))
    return [(row.key, row.at) for row in connection.execute(found)]


def unlock(db: Session, keys: Sequence[str], at: datetime, unlocked: LoginUnlocked) -> None:
    """Forgive what was counted under these keys of the throttle before an instant."""
    for key in keys:
        db.merge(Unlock(key=key, at=at))
    announce(db, unlocked)


def _device(client: Client) -> str:
    """Return what a device is known by: the address, of IPv6 the /64, and the user agent. No address, no device."""
    told = f"{addresses.network(client.ip)}\n{client.user_agent or ''}"
    return hashlib.blake2b(told.encode(errors="replace"), digest_size=16).hexdigest()
