"""Events: what happened, kept for whoever asks later. The table, and the answers."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

import orjson
from pydantic import Field
from sqlalchemy import BigInteger, Dialect, Index, Integer, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import Timestamp, UserId, key_type

OPERATOR = 0  # the actor of what a command did: an id that no user has


class EventName(StrEnum):
    """Everything that is an event. An announcement of one of these names is written down."""

    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"
    USER_ACTIVATED = "user_activated"
    USER_DEACTIVATED = "user_deactivated"
    USER_DELETED = "user_deleted"
    ADMIN_GRANTED = "admin_granted"
    ADMIN_REVOKED = "admin_revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name
    EMAIL_CHANGE_REQUESTED = "email_change_requested"
    EMAIL_VERIFIED = "email_verified"
    INVITATION_ACCEPTED = "invitation_accepted"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    LOGIN_UNLOCKED = "login_unlocked"
    SESSION_REVOKED = "session_revoked"
    REFRESH_REUSED = "refresh_reused"
    NEW_DEVICE = "new_device"
    MAIL_QUEUED = "mail_queued"  # for nobody, too: whoever asks for a mail must not get the answer sooner
    MAIL_SENT = "mail_sent"
    MAIL_GIVEN_UP = "mail_given_up"
    ALL_SESSIONS_ENDED = "all_sessions_ended"
    CLIENT_CREATED = "client_created"
    CLIENT_DELETED = "client_deleted"
    IMPORTED = "imported"
    EXPORTED = "exported"
    BACKED_UP = "backed_up"
    ADOPTED = "adopted"


class Json(TypeDecorator[dict[str, Any]]):
    """An object as JSON in a text column: MariaDB has no JSON type of its own."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text of an object."""
        return None if value is None else orjson.dumps(value, default=str).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        """Return the object of a text."""
        found: dict[str, Any] | None = None if value is None else orjson.loads(value)
        return found


class _Happened(Model):
    """What an event tells in the table and in answers alike."""

    at: datetime = Column(sa_type=Timestamp)
    user_id: int | None = Column(default=None, description="Whom it is about")
    session_id: int | None = Column(default=None, description="The login session in which it happened, or which ended")
    address: str | None = Column(default=None, max_length=45)
    user_agent: str | None = Column(default=None, max_length=255)
    request_id: str | None = Column(default=None, max_length=64)
    changes: dict[str, Any] | None = Column(
        default=None, sa_type=Json, description="The fields that changed, each with its `old` and its `new` value"
    )
    details: dict[str, Any] | None = Column(default=None, sa_type=Json, description="What else there is to tell")


class Event(_Happened, table=True):
    """A row of `events`. It refers to no other table: users and sessions go, what happened to them stays."""

    __tablename__: ClassVar[Any] = "events"
    __table_args__: ClassVar[Any] = (
        Index(None, "at", "id"),
        Index(None, "user_id", "at", "id"),
        Index(None, "user_id", "name", "at", "id"),
        Index(None, "actor_id", "at", "id"),
        Index(None, "name", "at", "id"),
        TABLE_OPTIONS,
    )

    id: int | None = Column(
        default=None,
        primary_key=True,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
    )
    name: str = Column(sa_type=key_type(32))
    actor_id: int | None = None  # `OPERATOR` for commands


class EventPublic(_Happened):
    """An event in an answer."""

    id: int
    name: str = Field(json_schema_extra={"enum": list(EventName)})
    actor_id: UserId | Literal["operator"] | None = Field(description="Who did it; null for nobody who was logged in")
