"""Login sessions: the table and the schema of answers."""

import secrets
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field
from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import Timestamp, key_type, now

NONCE_LENGTH = 22  # 128 random bits in base64url


def new_nonce() -> str:
    """Return what a session's tokens must name beside its id, which other databases have, too."""
    return secrets.token_urlsafe(16)


class LoginSession(Model, table=True):
    """A row of `login_sessions`: one login, alive until the row is deleted or expires."""

    __tablename__: ClassVar[Any] = "login_sessions"
    __table_args__: ClassVar[Any] = TABLE_OPTIONS

    id: int | None = Column(default=None, primary_key=True)
    user_id: int = Column(foreign_key="users.id", ondelete="CASCADE", index=True)
    nonce: str = Column(
        default_factory=new_nonce, sa_type=key_type(NONCE_LENGTH), sa_column_kwargs={"server_default": ""}
    )
    generation: int = 1
    used_generation: int = Column(default=1, sa_column_kwargs={"server_default": "1"})  # the newest known to be in use
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp, index=True)
    rotated_at: datetime = Column(default_factory=now, sa_type=Timestamp)
    expires_at: datetime = Column(sa_type=Timestamp, index=True)
    user_agent: str | None = Column(default=None, max_length=255)
    ip: str | None = Column(default=None, max_length=45)


class SessionPublic(Model):
    """A login session in an answer."""

    id: int
    created_at: datetime
    last_used_at: datetime = Field(description="When it was begun or last refreshed")
    expires_at: datetime = Field(description="When it ends unless it is refreshed")
    user_agent: str | None = Field(description="Of whoever began or last refreshed it")
    ip: str | None = Field(description="As `user_agent`")
    current: bool = Field(description="Whether this request was made in it")
