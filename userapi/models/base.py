"""What all models and all tables share."""

from types import NoneType
from typing import Any, TypeVar, cast, get_args

from annotated_types import MaxLen
from pydantic.fields import FieldInfo
from sqlalchemy import Column
from sqlmodel import SQLModel

T = TypeVar("T")

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}

KEYED_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_engine": "InnoDB"}  # of a table without own ids
TABLE_OPTIONS = {"sqlite_autoincrement": True, **KEYED_OPTIONS}  # else SQLite gives a deleted row's id to the next one


class Model(SQLModel):
    """The root of the hierarchy. It lets the length of a nullable text reach its column."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Copy a length inside `X | None` to the field, where SQLModel looks for it when it makes the column next."""
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            members = get_args(field.annotation)
            if len(members) == 2 and NoneType in members:
                rules = [rule for member in members for rule in FieldInfo.from_annotation(member).metadata]
                lengths = [rule for rule in rules if isinstance(rule, MaxLen) and rule not in field.metadata]
                field.metadata[:0] = lengths  # SQLModel asks the first rule it knows


def column(attribute: T) -> Column[T]:
    """Return the column of a model's attribute, for a statement that has no part in the model: `column(User.id)`."""
    found: Column[T] = cast("Any", attribute).property.columns[0]
    return found
