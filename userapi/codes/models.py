"""One-time codes: the table."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import MAX_EMAIL, Timestamp, key_type

MAX_PURPOSE = 40  # characters in the name of a purpose, which is also the kind of the mail that brings the code
DIGEST = 43  # 256 bits in base64url


class OneTimeCode(Model, table=True):
    """A row of `one_time_codes`: a link's token and a typed code that prove once that a mail was read.

    Of a user and a purpose there is one. Only keyed digests are kept. `bound_to` is one of the password and the
    address that it was issued for. A row without a user is nobody's, as in the outbox.
    """

    __tablename__: ClassVar[Any] = "one_time_codes"
    __table_args__: ClassVar[Any] = (Index(None, "user_id", "purpose"), TABLE_OPTIONS)

    id: int | None = Column(default=None, primary_key=True)
    user_id: int | None = Column(default=None, foreign_key="users.id", ondelete="CASCADE")
    purpose: str = Column(max_length=MAX_PURPOSE)
    token_hmac: str = Column(sa_type=key_type(DIGEST), unique=True)
    code_hmac: str = Column(sa_type=key_type(DIGEST))
    bound_to: str | None = Column(default=None, sa_type=key_type(DIGEST))
    data: str | None = Column(default=None, max_length=MAX_EMAIL)
    tries_left: int
    created_at: datetime = Column(sa_type=Timestamp)
    expires_at: datetime = Column(sa_type=Timestamp, index=True)
