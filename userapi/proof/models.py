"""What guards accounts beside their passwords: guesses counted, devices known, locks lifted. Three tables."""

from datetime import datetime
from typing import Any, ClassVar

from sqlmodel import Field as Column

from userapi.models.base import KEYED_OPTIONS, Model
from userapi.models.fields import Timestamp, key_type


class PasswordGuesses(Model, table=True):
    """A row of `password_guesses`: how many wrong current passwords in a row a user's sessions have sent."""

    __tablename__: ClassVar[Any] = "password_guesses"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    user_id: int = Column(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    failures: int = 0
    locked_until: datetime | None = Column(default=None, sa_type=Timestamp)


class KnownDevice(Model, table=True):
    """A row of `known_devices`: a user has logged in from there; `device` is a digest of address and user agent."""

    __tablename__: ClassVar[Any] = "known_devices"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    user_id: int = Column(primary_key=True, foreign_key="users.id", ondelete="CASCADE")
    device: str = Column(primary_key=True, sa_type=key_type(32))
    at: datetime = Column(sa_type=Timestamp)


class Unlock(Model, table=True):
    """A row of `unlocks`: the operator's word that what the throttle counted under a key before is forgiven."""

    __tablename__: ClassVar[Any] = "unlocks"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    key: str = Column(primary_key=True, sa_type=key_type(64))
    at: datetime = Column(sa_type=Timestamp)
