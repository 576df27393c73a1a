"""Rules of invitations: sent with the user they are for, sent again, withdrawn, accepted once."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from userapi.codes import rules as codes
from userapi.codes.models import OneTimeCode
from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, announce
from userapi.mail import dependencies
from userapi.mail.rules import ASKED_FOR, Context, send_code
from userapi.mailboxes import proofs
from userapi.mailboxes import rules as mailboxes
from userapi.mailboxes.proofs import MailProof
from userapi.models import User
from userapi.security.keyring import Keyring
from userapi.users.changes import NewPassword
from userapi.users.rules import UNUSABLE, UserCreated

INVITATION = "invitation"
LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class InvitationAccepted(Announcement):
    """Whoever was invited has set a password."""

    user_id: int


@dataclass(frozen=True)
class InvitationWithdrawn(Announcement):
    """An invitation is not good any more, by the word of the admin with the id `by`."""

    user_id: int
    by: int


def listen(services: Any) -> None:
    """Send an invitation in the unit that makes a user without a password."""

    def created(db: Session, made: UserCreated) -> None:
        if made.invited:
            _send(db, dependencies.context(services, counted=False), db.get_one(User, made.user_id))

    services.announcements.inside_unit(UserCreated, created)


def send_again(db: Session, context: Context, user_id: int) -> None:
    """Send an invitation again; it ends the one before, which else stays good if a limit forbids to send.

    Raises:
        ApiError: user_not_found; invitation_not_found, for a user who has a password; too_many_attempts, if a limit
            forbids to send and there is none that is good: it was withdrawn, or sent to another address.
    """
    user = db.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    if user.hashed_password != UNUSABLE:
        raise ApiError(ErrorCode.INVITATION_NOT_FOUND)
    sent = _send(db, context._replace(network=None), user)
    if not sent and not codes.is_open(db, context.keyring, INVITATION, user):
        words = "An invitation was sent to this user just now, or five today: try again later"
        raise ApiError(ErrorCode.TOO_MANY_ATTEMPTS, words, retry_after=int(ASKED_FOR.pause.total_seconds()))


def withdraw(db: Session, user_id: int, by: int) -> None:
    """End an invitation; the user stays, without a password.

    Raises:
        ApiError: user_not_found, invitation_not_found.
    """
    if db.exec(select(User.id).where(User.id == user_id).with_for_update()).first() is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    open_one = (col(OneTimeCode.user_id) == user_id) & (col(OneTimeCode.purpose) == INVITATION)
    if not db.exec(delete(OneTimeCode).where(open_one)).rowcount:
        raise ApiError(ErrorCode.INVITATION_NOT_FOUND)
    announce(db, InvitationWithdrawn(user_id, by))


def accept(db: Session, keyring: Keyring, proof: MailProof, new: NewPassword) -> bool:
    """Set the first password of whoever was invited, whose address is verified by that; tell whether it was good.

    Raises:
        ApiError: password_too_common, password_contains_username, password_contains_email, email_taken.
    """
    redeemed = proofs.redeem(db, keyring, INVITATION, proof)
    if redeemed is None:
        return False
    mailboxes.set_password(db, redeemed.user, new)
    mailboxes.take(db, redeemed.user)
    announce(db, InvitationAccepted(redeemed.user.id or 0))
    return True


def _send(db: Session, context: Context, user: User) -> bool:
    return send_code(db, context, INVITATION, user, LIFETIME, details={"days": LIFETIME.days})
