"""Rules of verification: what is sent, and what follows when its code comes back."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete
from sqlmodel import Session, col, select

from userapi.codes import rules as codes
from userapi.codes.models import OneTimeCode
from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import announce
from userapi.mail import dependencies
from userapi.mail.rules import ASKED_FOR, Context, enqueue, may_get, send_code
from userapi.mailboxes import proofs
from userapi.mailboxes import rules as mailboxes
from userapi.mailboxes.proofs import MailProof
from userapi.models import User, canonical
from userapi.proof import credentials
from userapi.security.keyring import Keyring
from userapi.sessions import rules as sessions
from userapi.users.changes import EmailChangeRequested, UserChanged
from userapi.users.rules import UserCreated

VERIFY, CHANGE, UNDO, REGISTERED = "verify_email", "change_email", "undo_email", "already_registered"
LIFETIME = timedelta(hours=24)
UNDO_LIFETIME = timedelta(days=7)
MOST_TRIED = 5  # claims of an address whose codes a typed one may be


def listen(services: Any) -> None:
    """Send what is to be verified, in the unit that makes it so, if the settings ask for it."""

    def created(db: Session, made: UserCreated) -> None:
        if not made.invited:
            user = db.get_one(User, made.user_id)
            _ask(db, dependencies.context(services, counted=credentials.is_claim(user)), user)

    def requested(db: Session, change: EmailChangeRequested) -> None:
        user = db.get_one(User, change.user_id)
        _ask_change(db, dependencies.context(services, counted=change.by == user.id), user)

    if services.settings.email_verification != "off":
        services.preparation.verify_email = True
        services.announcements.inside_unit(EmailChangeRequested, requested)
        services.announcements.inside_unit(UserCreated, created)


def ask_again(db: Session, context: Context, user_id: int) -> None:
    """Send a user the mail that verifies the address that waits, or the present one; none if there is nothing to.

    Raises:
        ApiError: session_ended: there is no such user any more.
    """
    user = db.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None:
        raise ApiError(ErrorCode.SESSION_ENDED)
    if user.pending_email:
        _send_change(db, context, user)
    elif user.email_verified_at is None and mailboxes.verified_holder(db, user) is None:
        send_code(db, context, VERIFY, user, LIFETIME)


def verify(db: Session, keyring: Keyring, proof: MailProof) -> bool:
    """Verify the address that a code was sent to; return whether the code was good.

    Raises:
        ApiError: email_taken: another has verified it meanwhile.
    """
    for login in _logins(db, proof.login):
        tried = proof.model_copy(update={"login": login})
        if redeemed := proofs.redeem(db, keyring, VERIFY, tried):
            mailboxes.take(db, redeemed.user)
            return True
        if redeemed := proofs.redeem(db, keyring, CHANGE, tried):
            user, email = redeemed
            if user.pending_email != email:
                return False
            _give(db, user, email or "")
            return True
    return False


def find_undo(connection: Connection, keyring: Keyring, token: str) -> tuple[int, str | None] | None:
    """Return the user's id and the address that a token of an undo leads back to, and keep it."""
    return codes.find(connection, keyring, *_split(token))


def undo(db: Session, keyring: Keyring, token: str) -> bool:
    """Go back to the address that a change of it was told to; return whether the token was good.

    All sessions end. What was sent after the change ends, too, or whoever made it could undo this in turn; what was
    sent before stays.

    Raises:
        ApiError: email_taken: another has verified it meanwhile.
    """
    purpose, secret = _split(token)
    found = codes.find(db.connection(), keyring, purpose, secret)
    user_id, email = found or (0, None)
    mailboxes.lock(db, user_id, email or "")
    mine = select(OneTimeCode.created_at).where(OneTimeCode.user_id == user_id)
    sent_at = db.exec(mine.where(OneTimeCode.purpose == purpose)).first()
    redeemed = codes.redeem_token(db, keyring, purpose, secret)
    if redeemed is None or sent_at is None:
        return False
    user, email = redeemed
    older = col(OneTimeCode.purpose).startswith(UNDO) & (col(OneTimeCode.created_at) < sent_at)
    db.exec(delete(OneTimeCode).where(col(OneTimeCode.user_id) == user.id, ~older))
    _give(db, user, email or user.email)
    sessions.end_all(db, user.id or 0, "change of address undone")
    return True


def _ask(db: Session, context: Context, user: User) -> None:
    """Send a new user the mail that verifies its address; but if it is another's, tell that one.

    Both cost the database the same, so that whoever registers learns nothing.
    """
    if user.email_verified_at is not None:
        return
    holder = mailboxes.verified_holder(db, user)
    told = holder if may_get(db, holder, REGISTERED, ASKED_FOR) else None
    send_code(db, context, VERIFY, None if holder else user, LIFETIME)
    enqueue(db, REGISTERED, told)


def _ask_change(db: Session, context: Context, user: User) -> None:
    """Send a user's new address the mail that verifies it, and the old one the mail that undoes it."""
    _send_change(db, context, user)
    if not may_get(db, user, UNDO, ASKED_FOR):
        return  # the mail before is good for 7 days
    digest = hashlib.blake2b(user.email.encode(), digest_size=8).hexdigest()
    issued = codes.issue(db, context.keyring, UNDO + digest, user, UNDO_LIFETIME, data=user.email, bound=False)
    secret = context.keyring.seal(json.dumps({"token": f"{digest}.{issued.token}"}))
    details = {"new": user.pending_email, "days": UNDO_LIFETIME.days}
    enqueue(db, UNDO, user, details=details, secret=secret)


def _send_change(db: Session, context: Context, user: User) -> None:
    to = user.pending_email
    send_code(db, context, CHANGE, user, LIFETIME, to=to, data=to)


def _give(db: Session, user: User, email: str) -> None:
    """Give a user an address whose mail it was proved to read; none waits any more."""
    before, user.pending_email = user.email, None
    user.email = email
    mailboxes.take(db, user)
    if email != before:
        announce(db, UserChanged(user.id or 0, user.id or 0, "email", {"email": (before, email)}))


def _logins(db: Session, login: str | None) -> list[str | None]:
    """Return whose code may be meant: an address that is not verified yet may be that of several."""
    key = canonical(login or "")
    if "@" not in key or not key.isprintable():
        return [login]
    named = select(User.username).where((col(User.email_key) == key) | credentials.claims(key))
    return [*db.exec(named.order_by(col(User.id).desc()).limit(MOST_TRIED))] or [login]


def _split(token: str) -> tuple[str, str]:
    """Return the purpose and the secret of an undo's token: each address that was left has a purpose of its own."""
    digest, _, secret = token.partition(".")
    known = digest[:16] if digest.isascii() and digest.isalnum() else ""  # databases choke on some other characters
    return UNDO + known, secret
