"""What belongs to a database and to no other: the table."""

from typing import Any, ClassVar

from sqlmodel import Field as Column

from userapi.models.base import TABLE_OPTIONS, Model


class Deployment(Model, table=True):
    """A row of `deployment`: something that this database keeps about itself, by name."""

    __tablename__: ClassVar[Any] = "deployment"
    __table_args__: ClassVar[Any] = TABLE_OPTIONS

    name: str = Column(primary_key=True, max_length=64)
    value: str = Column(max_length=255)
