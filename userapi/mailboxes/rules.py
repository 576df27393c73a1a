"""Rules of addresses: one belongs to whoever has verified it; others only claim it."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, or_
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi.errors import ApiError, ErrorCode, refuse
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import RunAgain
from userapi.models import User, canonical, now
from userapi.proof import credentials
from userapi.proof.models import KnownDevice
from userapi.security.strength import guessable
from userapi.sessions import rules as sessions
from userapi.users.changes import NewPassword
from userapi.users.rules import UserDeleted

MOST_CLAIMS = 100  # that end when somebody verifies the address; more are rare, and then two may wait for each other


@dataclass(frozen=True)
class EmailVerified(Announcement):
    """A user has proved to read the mail of its address; those who only claimed it have lost it."""

    user_id: int


def verified_holder(db: Session, user: User | None) -> User | None:
    """Return the other user who has verified a user's address, if there is one; for nobody it asks the same."""
    email, user_id = (user.email, user.id) if user else ("", None)
    others = select(User).where(User.email_key == canonical(email), User.id != (user_id or 0))
    return db.exec(others.where(col(User.email_verified_at).is_not(None))).one_or_none()


def lock(db: Session, user_id: int, *others: str) -> None:
    """Lock a user with whoever has or claims one of its addresses or of these `others`, in the order of ids.

    It comes before a proof is redeemed: whoever verifies an address locks its rivals. Those who do so at once would
    wait for each other if each locked itself first, and PostgreSQL takes a second to notice. 0 is nobody: the
    statements are the same.
    """
    own = db.exec(select(User.email, User.pending_email).where(User.id == user_id)).first() or ("", None)
    rivals = select(User.id).where(_has_or_claims(*(address or "" for address in own), *others)).limit(MOST_CLAIMS)
    ids = {user_id, *db.exec(rivals.order_by(col(User.id)))}
    db.exec(select(User.id).where(col(User.id).in_(ids)).order_by(col(User.id)).with_for_update()).all()


def take(db: Session, user: User) -> None:
    """Give a user its address, whose mail it has just been proved to read.

    Claims of others end, and with them their accounts, in which nobody but who made them has a part. A user who held
    the address unverified, as an admin made it or before verification was asked for, stays, logged out, with a claim.

    Raises:
        ApiError: email_taken: another has verified it before.
        RunAgain: Another has taken it at this moment.
    """
    others = select(User).where(_has_or_claims(user.email))
    for other in db.exec(others.where(User.id != user.id).order_by(col(User.id)).limit(MOST_CLAIMS).with_for_update()):
        if canonical(other.email) == canonical(user.email):
            _displace(db, other, user)
    if user.email_verified_at is None:  # whoever set it up may be another
        db.exec(delete(KnownDevice).where(col(KnownDevice.user_id) == user.id))
    user.email_verified_at = user.updated_at = now()
    credentials.set_keys(user, claims=False)
    user.version += 1
    announce(db, EmailVerified(user.id or 0))
    try:
        db.flush()
    except IntegrityError as error:
        raise RunAgain from error


def set_password(db: Session, user: User, new: NewPassword) -> None:
    """Give a user a password, by the word of whoever reads its mail; what was set up with the old one ends.

    Raises:
        ApiError: password_too_common, password_contains_username, password_contains_email.
    """
    refuse(guessable(new.password, user.username, user.email))
    user.hashed_password, user.pending_email = new.hashed_password, None
    sessions.end_all(db, user.id or 0, "password reset")


def _has_or_claims(*addresses: str) -> ColumnElement[bool]:
    keys = [canonical(address) for address in addresses]
    return or_(col(User.email_key).in_(keys), *(credentials.claims(address) for address in addresses))


def _displace(db: Session, other: User, by: User) -> None:
    claim = credentials.is_claim(other)
    if not claim and other.email_verified_at is not None:
        raise ApiError(ErrorCode.EMAIL_TAKEN)
    sessions.end_all(db, other.id or 0, "address verified by another")
    if claim and not other.is_admin:
        db.delete(other)
        announce(db, UserDeleted(other.id or 0, by.id or 0))
        return
    credentials.set_keys(other, claims=True)
    other.version += 1
    db.flush()
