"""Rules of sending: a mail is claimed by one process at a time, then marked as sent, put off or given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, delete, update
from sqlmodel import Session, col, select

from userapi.codes.models import OneTimeCode
from userapi.kit.announcements import Announcement, announce
from userapi.mail.models import MailClient, OutboxMail
from userapi.mail.rules import TRIED_FOR
from userapi.models import now

SEND_SECONDS = 60  # one try, from connecting to the server's last word
LEASE = timedelta(seconds=2 * SEND_SECONDS)  # another process takes it after that; clocks may be 30 s apart
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(hours=1)  # between tries; each is four times the last
KEPT = timedelta(days=2)  # after it was written: limits look back a day, and clocks may jump
KEPT_GIVEN_UP = timedelta(days=30)
MOST_COUNTED = 100_000


@dataclass(frozen=True)
class MailSent(Announcement):
    """A mail server has taken a mail."""

    mail_id: int
    kind: str
    user_id: int | None
    attempts: int


@dataclass(frozen=True)
class MailGivenUp(Announcement):
    """A mail will not be tried again; `error` is what went wrong last."""

    mail_id: int
    kind: str
    user_id: int | None
    attempts: int
    error: str


def next_due(connection: Connection) -> datetime | None:
    """Return when the next mail is to be tried; None if none waits."""
    return connection.execute(sqlalchemy.select(sqlalchemy.func.min(OutboxMail.due_at))).scalar_one()


def depth(connection: Connection) -> int:
    """Return how many mails wait to be sent, those on their way included; 100,000 at most."""
    waiting = sqlalchemy.select(col(OutboxMail.due_at)).where(col(OutboxMail.due_at).is_not(None)).limit(MOST_COUNTED)
    return connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(waiting.subquery())).scalar_one()


def claim(db: Session, most: int) -> list[OutboxMail]:
    """Return at most so many mails that are due, detached, for this process alone to try until the lease is over.

    One way for all databases: a server in which two processes meet skips the rows that the other has locked, SQLite
    lets one process write at a time, and in a cluster the second commit fails and runs again. No transaction is open
    while a mail server is talked to.
    """
    at = now()
    due = select(OutboxMail).where(col(OutboxMail.due_at) <= at).order_by(col(OutboxMail.due_at), col(OutboxMail.id))
    claimed = list(db.exec(due.limit(most).with_for_update(skip_locked=True)))
    for mail in claimed:
        mail.due_at, mail.error = at + LEASE, None
        mail.attempts += 1
    return claimed


def mark_sent(db: Session, claimed: OutboxMail) -> None:
    """Note that a mail was sent, and forget its secret."""
    if mail := _still(db, claimed):
        mail.sent_at, mail.due_at, mail.secret = now(), None, None
        announce(db, MailSent(mail.id or 0, mail.kind, mail.user_id, mail.attempts))


def mark_failed(db: Session, claimed: OutboxMail, error: str, *, final: bool) -> None:
    """Put a mail off after a failed try, or give it up and forget its secret: at once if `final`, or in the end."""
    mail = _still(db, claimed)
    if mail is None:
        return
    pause = min(FIRST_PAUSE * 4 ** min(mail.attempts - 1, 10), LONGEST_PAUSE)
    mail.error, mail.due_at = error[:255], now() + pause
    if final or mail.due_at > mail.give_up_at:
        mail.due_at, mail.secret = None, mail.secret and ""  # there was one
        announce(db, MailGivenUp(mail.id or 0, mail.kind, mail.user_id, mail.attempts, mail.error))


def find_waiting(connection: Connection, most: int) -> Sequence[Any]:
    """Return the rows of at most so many mails that wait or were given up, the newest first."""
    unsent = col(OutboxMail.due_at).is_not(None) | col(OutboxMail.error).is_not(None)
    newest = sqlalchemy.select(OutboxMail).where(unsent).order_by(col(OutboxMail.id).desc())
    return connection.execute(newest.limit(most)).all()


def send_again(db: Session) -> int:
    """Make the mails due that were put off, and those given up that had no secret; return how many.

    A mail on its way is left alone.
    """
    at = now()
    put_off = col(OutboxMail.due_at).is_not(None) | col(OutboxMail.secret).is_(None)
    again = update(OutboxMail).where(col(OutboxMail.error).is_not(None), put_off)
    return db.exec(again.values(due_at=at, give_up_at=at + TRIED_FOR)).rowcount


def clean(db: Session) -> None:
    """Forget counts, codes and mails that nobody needs any more, in the order in which others lock them."""
    at = now()
    done = col(OutboxMail.due_at).is_(None)
    kept = col(OutboxMail.error).is_not(None) & (col(OutboxMail.created_at) > at - KEPT_GIVEN_UP)
    db.exec(delete(MailClient).where(col(MailClient.since) < at - KEPT))
    db.exec(delete(OneTimeCode).where(col(OneTimeCode.expires_at) < at - KEPT))
    db.exec(delete(OutboxMail).where(done, col(OutboxMail.created_at) < at - KEPT, ~kept))


def _still(db: Session, claimed: OutboxMail) -> OutboxMail | None:
    """Return a claimed mail, unless another process has claimed it since, or its user is gone."""
    mail = db.get(OutboxMail, claimed.id, with_for_update=True)
    return mail if mail is not None and mail.attempts == claimed.attempts else None
