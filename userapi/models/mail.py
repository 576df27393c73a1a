"""Mail: the mails that wait or were sent, the one-time codes that they bring, and who asked for them. Three tables."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, Text
from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import MAX_EMAIL, MAX_LOCALE, Timestamp, key_type

MAX_KIND = 40  # characters in the name of a kind of mail, which is also the purpose of its code
DIGEST = 43  # 256 bits in base64url


class OutboxMail(Model, table=True):
    """A row of `outbox`: one mail. It waits as long as there is a `due_at`; no row holds a secret afterwards.

    A mail without a recipient was asked for where none is sent: it is there so that both take the same time.
    """

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__: ClassVar[Any] = (Index(None, "user_id", "kind", "created_at"), TABLE_OPTIONS)

    id: int | None = Column(default=None, primary_key=True)
    message_id: str = Column(max_length=32)  # what stands before the @ of `Message-ID`
    kind: str = Column(max_length=MAX_KIND)
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


class OneTimeCode(Model, table=True):
    """A row of `one_time_codes`: a link's token and a typed code that prove once that a mail was read.

    Of a user and a purpose there is one. Only keyed digests are kept. `bound_to` is one of the password and the
    address that it was issued for. A row without a user is nobody's, as in the outbox.
    """

    __tablename__: ClassVar[Any] = "one_time_codes"
    __table_args__: ClassVar[Any] = (Index(None, "user_id", "purpose"), TABLE_OPTIONS)

    id: int | None = Column(default=None, primary_key=True)
    user_id: int | None = Column(default=None, foreign_key="users.id", ondelete="CASCADE")
    purpose: str = Column(max_length=MAX_KIND)
    token_hmac: str = Column(sa_type=key_type(DIGEST), unique=True)
    code_hmac: str = Column(sa_type=key_type(DIGEST))
    bound_to: str | None = Column(default=None, sa_type=key_type(DIGEST))
    data: str | None = Column(default=None, max_length=MAX_EMAIL)
    tries_left: int
    created_at: datetime = Column(sa_type=Timestamp)
    expires_at: datetime = Column(sa_type=Timestamp, index=True)


class MailClient(Model, table=True):
    """A row of `mail_clients`: how many mails were asked for from a network since the beginning of its hour."""

    __tablename__: ClassVar[Any] = "mail_clients"
    __table_args__: ClassVar[Any] = {name: TABLE_OPTIONS[name] for name in ("mysql_charset", "mysql_engine")}

    network: str = Column(primary_key=True, sa_type=key_type(45))
    since: datetime = Column(sa_type=Timestamp, index=True)
    asked: int
