"""Rules about mail: a mail is a row of the outbox, written in the unit of what it is about, within limits."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi.codes import rules as codes
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import RunAgain
from userapi.kit.web import addresses
from userapi.mail.models import MailClient, OutboxMail
from userapi.models import User, now
from userapi.security.keyring import Keyring

TRIED_FOR = timedelta(hours=24)
FROM_A_CLIENT = 20  # mails that a network may ask for in an hour


@dataclass(frozen=True)
class MailQueued(Announcement):
    """A mail was put in the outbox; `nobody` tells that none is sent, for whoever asks shall not learn that."""

    kind: str
    user_id: int | None
    nobody: bool | None


class Limit(NamedTuple):
    """How often a user gets a mail of a kind: once in `pause`, and `a_day` times in 24 hours."""

    pause: timedelta
    a_day: int


ASKED_FOR = Limit(timedelta(minutes=2), 5)


class Context(NamedTuple):
    """What a mail with a code needs beside the database: a route gets it as `MailContextDep`, others make one."""

    keyring: Keyring
    network: str | None = None  # of the client that asks; None if it is not counted


def enqueue(
    db: Session,
    kind: str,
    user: User | None,
    *,
    to: str | None = None,
    details: Mapping[str, Any] | None = None,
    secret: str | None = None,
    lifetime: timedelta = TRIED_FOR,
) -> None:
    """Put a mail of the template `kind` in the outbox, in the unit of what it is about; it is sent after the commit.

    It goes to `user`, or to the address `to` in the user's name or nobody's; with neither there is a row and no mail.
    `details` are JSON values for the template, beside `username` and `app_url`; `secret` is JSON with more of them,
    sealed by the keyring, which goes when the mail is sent or given up: after 24 hours, or its `lifetime`.
    """
    at = now()
    recipient = to or (user.email if user else None)
    mail = OutboxMail(
        message_id=secrets.token_hex(16),
        kind=kind,
        user_id=user.id if user else None,
        recipient=recipient,
        locale=user.locale if user else None,
        details=json.dumps({"username": user.username if user else None, "app_url": _asked(), **(details or {})}),
        secret=secret if recipient else None,
        created_at=at,
        give_up_at=at + min(lifetime, TRIED_FOR),
        due_at=at if recipient else None,
    )
    db.add(mail)
    db.flush()
    announce(db, MailQueued(kind, mail.user_id, None if recipient else True))


def send_code(
    db: Session,
    context: Context,
    kind: str,
    user: User | None,
    lifetime: timedelta,
    *,
    to: str | None = None,
    data: str | None = None,
    bound: bool = True,
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Send a user a mail with a new one-time code of the purpose `kind`, unless a limit forbids it; tell whether.

    Nobody (None), and a user who has had enough mails, cost the database the same: whoever asks cannot tell. The code
    that was sent before stays good if no new one is. The template, of the same name, is given `token`, `code`
    and `minutes` (its lifetime); `to` and `details` are as for `enqueue`, `data` and `bound` as for
    `codes.issue`.
    """
    addressee = user if may_get(db, user, kind, ASKED_FOR) else None  # users are locked before their network
    if context.network is not None and not _count(db, context.network):
        return False
    issued = codes.issue(db, context.keyring, kind, addressee, lifetime, data=data, bound=bound)
    shown = {**(details or {}), "minutes": int(lifetime.total_seconds() // 60)}
    sealed = context.keyring.seal(json.dumps(issued._asdict()))
    to = to if addressee else None
    enqueue(db, kind, addressee, to=to, details=shown, secret=sealed, lifetime=lifetime)
    return addressee is not None


def may_get(db: Session, user: User | None, kind: str, limit: Limit) -> bool:
    """Tell whether a user may get another mail of a kind: nobody may, nor who has just been deleted.

    The user's row is locked, so all processes count alike.
    """
    at, user_id = now(), user.id if user else 0  # which nobody has
    there = db.exec(select(User.id).where(User.id == user_id).with_for_update()).first() is not None
    mine: ColumnElement[bool] = (col(OutboxMail.user_id) == user_id) & (col(OutboxMail.kind) == kind)
    recent = select(OutboxMail.created_at).where(mine, OutboxMail.created_at > at - timedelta(days=1))
    sent: list[datetime] = list(db.exec(recent.order_by(col(OutboxMail.created_at).desc()).limit(limit.a_day)))
    return there and len(sent) < limit.a_day and not (sent and sent[0] > at - limit.pause)


def _asked() -> str | None:
    """Return the URL of the very socket that was asked, where links lead without `APP_URL`; None if none was.

    It is never what the header `Host` says: whoever asks for another's mail could put a page of his own there.
    """
    host, port = addresses.socket.get() or (None, None)
    return f"http://[{host}]:{port}" if ":" in (host or "") else f"http://{host}:{port}" if port else None


def _count(db: Session, network: str) -> bool:
    """Count that a network asks for a mail; tell whether it may. Its row orders the requests of all processes."""
    at = now()
    asked, since = col(MailClient.asked), col(MailClient.since)
    over = since <= at - timedelta(hours=1)
    counted = update(MailClient).where(col(MailClient.network) == network, over | (asked < FROM_A_CLIENT))
    # `asked` first: MySQL sets one after the other, and the second would see the first.
    values = [(asked, case((over, 1), else_=asked + 1)), (since, case((over, at), else_=since))]
    if db.exec(counted.ordered_values(*values)).rowcount:
        return True
    if db.get(MailClient, network) is not None:
        return False
    db.add(MailClient(network=network, since=at, asked=1))
    try:
        db.flush()
    except IntegrityError as error:
        raise RunAgain from error  # another process was faster
    return True
