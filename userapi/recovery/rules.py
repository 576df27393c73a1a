"""Rules of recovery: a mail for whoever asks, and a new password for whoever got it."""

from datetime import timedelta

from sqlmodel import Session, select

from userapi.kit.announcements import announce
from userapi.mail.rules import Context, send_code
from userapi.mailboxes import proofs
from userapi.mailboxes import rules as mailboxes
from userapi.mailboxes.proofs import MailProof
from userapi.models import User, now
from userapi.proof import credentials, guards
from userapi.security import throttle
from userapi.security.keyring import Keyring
from userapi.users.changes import NewPassword, PasswordChanged
from userapi.users.rules import UNUSABLE

RESET = "reset_password"
LIFETIME = timedelta(minutes=30)


def forgot(db: Session, context: Context, login: str) -> None:
    """Send a mail that lets the user with this name or address set a new password.

    For nobody, for who is inactive or only invited, and where another has verified the address, the database does the
    same, and there is no mail.
    """
    found = credentials.find(db.connection(), login)
    user = db.exec(select(User).where(User.id == (found.user_id if found else 0))).one_or_none()
    held = mailboxes.verified_holder(db, user) is not None
    may = user is not None and user.is_active and user.hashed_password != UNUSABLE and not held
    send_code(db, context, RESET, user if may else None, LIFETIME)


def reset(db: Session, keyring: Keyring, proof: MailProof, new: NewPassword) -> int | None:
    """Set a new password, end all sessions and lift the account's locks; return whose it was, None for a wrong code.

    The mail proves that its address is the user's, so the address is verified, too.

    Raises:
        ApiError: password_too_common, password_contains_username, password_contains_email, email_taken.
    """
    redeemed = proofs.redeem(db, keyring, RESET, proof)
    if redeemed is None:
        return None
    user, user_id = redeemed.user, redeemed.user.id or 0
    mailboxes.set_password(db, user, new)
    mailboxes.take(db, user)
    guards.forgive_guesses(db, user_id)
    guards.unlock(db, locks(user_id), now(), guards.LoginUnlocked(user_id, None))
    announce(db, PasswordChanged(user_id, user_id))
    return user_id


def locks(user_id: int) -> list[str]:
    """Return the keys under which the throttle counts wrong passwords of a user."""
    return [throttle.strangers(user_id, "").key, throttle.known_devices(user_id).key]
