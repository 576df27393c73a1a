"""What the throttle counts with, where it counts in the database: the table."""

from typing import Any, ClassVar

from sqlalchemy import BigInteger
from sqlmodel import Field as Column

from userapi.models.base import KEYED_OPTIONS, Model
from userapi.models.fields import key_type


class ThrottleCounter(Model, table=True):
    """A row of `throttle_counters`: what hosts that share no Redis count together, until `ends`.

    `ends` is the database's own time, in milliseconds since 1970: the clocks of hosts differ.
    """

    __tablename__: ClassVar[Any] = "throttle_counters"
    __table_args__: ClassVar[Any] = KEYED_OPTIONS

    key: str = Column(primary_key=True, sa_type=key_type(64))
    many: int
    ends: int = Column(sa_type=BigInteger, index=True)
