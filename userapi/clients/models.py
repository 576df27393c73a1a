"""OAuth clients: the table."""

from datetime import datetime
from typing import Any, ClassVar

from sqlmodel import Field as Column

from userapi.models.base import KEYED_OPTIONS, Model
from userapi.models.fields import Timestamp, key_type, now

MAX_CLIENT_NAME = 64
CLIENT_NAME = r"[a-zA-Z0-9_.-]{1,64}"


class OAuthClient(Model, table=True):
    """A row of `oauth_clients`: a service that may ask about tokens, and a digest of its secret."""

    __tablename__: ClassVar[Any] = "oauth_clients"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    name: str = Column(primary_key=True, sa_type=key_type(MAX_CLIENT_NAME))
    secret_digest: str = Column(max_length=64)  # SHA-256 in hexadecimal digits
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp)
