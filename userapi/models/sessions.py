"""Login sessions: the table and the schema of answers."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field
from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import Timestamp, now


class LoginSession(Model, table=True):
    """A row of `login_sessions`: one login, alive until the row is deleted or expires."""

    __tablename__: ClassVar[Any] = "login_sessions"
    __table_args__: ClassVar[Any] = TABLE_OPTIONS

    id: int | None = Column(default=None, primary_key=True)
    user_id: int = Column(foreign_key="users.id", ondelete="CASCADE", index=True)
    generation: int = 1
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp)
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
    user_agent: str | None
    ip: str | None
    current: bool = Field(description="Whether this request was made in it")
