"""Mail: the tables of the mails that wait or were sent, and of who asked for them."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, Text
from sqlmodel import Field as Column

from userapi.codes.models import MAX_PURPOSE
from userapi.models.base import KEYED_OPTIONS, TABLE_OPTIONS, Model
from userapi.models.fields import MAX_EMAIL, MAX_LOCALE, Timestamp, key_type


class OutboxMail(Model, table=True):
    """A row of `outbox`: one mail. It waits as long as there is a `due_at`; no row holds a secret afterwards.

    A mail without a recipient was asked for where none is sent: it is there so that both take the same time.
    """

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__: ClassVar[Any] = (Index(None, "user_id", "kind", "created_at"), TABLE_OPTIONS)

    id: int | None = Column(default=None, primary_key=True)
    message_id: str = Column(max_length=32)  # what stands before the @ of `Message-ID`
    kind: str = Column(max_length=MAX_PURPOSE)
    user_id: int | None = Column(default=None, foreign_key="users.id", ondelete="CASCADE")
    recipient: str | None = Column(default=None, max_length=MAX_EMAIL)
    locale: str | None = Column(default=None, max_length=MAX_LOCALE)
    details: str = Column(sa_type=Text)  # JSON: what the template says
    secret: str | None = Column(default=None, sa_type=Text)  # sealed by the keyring: JSON, the same
    created_at: datetime = Column(sa_type=Timestamp, index=True)
    give_up_at: datetime = Column(sa_type=Timestamp)
    due_at: datetime | None = Column(default=None, sa_type=Timestamp, index=True)  # until then, nobody touches it
    attempts: int = 0
    sent_at: datetime | None = Column(default=None, sa_type=Timestamp)
    error: str | None = Column(default=None, max_length=255)


class MailClient(Model, table=True):
    """A row of `mail_clients`: how many mails were asked for from a network since the beginning of its hour."""

    __tablename__: ClassVar[Any] = "mail_clients"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    network: str = Column(primary_key=True, sa_type=key_type(45))
    since: datetime = Column(sa_type=Timestamp, index=True)
    asked: int
