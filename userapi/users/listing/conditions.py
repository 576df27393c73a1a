"""What users of a list must fulfil: conditions that the database looks up in an index, or checks user by user."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, func, not_, or_, select, union_all

from userapi.models import User, column


@dataclass(frozen=True)
class Filter:
    """A column that must have a value."""

    column: str
    value: bool
    indexed: bool = True  # whether the database may use the column's index

    def narrow(self, users: Select[Any]) -> Select[Any]:
        """Return the statement for those of its users that pass the filter."""
        found = column(getattr(User, self.column))
        return users.where((found if self.indexed else func.coalesce(found, false())) == self.value)


@dataclass(frozen=True)
class Search:
    """A start that the username or the e-mail address must have, the parameters `low` and `high`."""

    indexed: bool  # whether to look the users up by both names' indexes, or to go through all users

    def narrow(self, users: Select[Any]) -> Select[Any]:
        """Return the statement for those of its users that the search finds."""
        if not self.indexed:  # the concatenation hides the column from its index
            return users.where(
                or_(starts(column(User.username_key).concat("")), starts(column(User.email_key).concat("")))
            )
        by_username = select(column(User.id)).where(starts(column(User.username_key)))
        by_email = select(column(User.id)).where(
            starts(column(User.email_key)), not_(starts(column(User.username_key)))
        )
        ids = union_all(by_username, by_email).subquery("matches")  # who matches by both is found by the username
        return users.join(ids, ids.c.id == column(User.id))


Conditions = tuple[Filter | Search, ...]


def narrowed(users: Select[Any], conditions: Conditions) -> Select[Any]:
    """Return the statement for those of its users that fulfil all conditions."""
    return reduce(lambda found, condition: condition.narrow(found), conditions, users)


def starts(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Return that a name starts as searched for: a range, for an index serves it and no character is a wildcard."""
    return and_(name >= bindparam("low"), name < bindparam("high"))
