"""The ways to find a page of users, each with its statement in the form that the database's indexes serve.

What the databases do, and what is therefore done here:

- SQLite does not know how often a value occurs. It takes the index of a filtered column and sorts all that it finds,
  which for the active users is nearly everybody; so does MariaDB under two filters. Therefore `coalesce` hides the
  index of a filter that many users pass. PostgreSQL chooses well by itself.
- What must be sorted is sorted by ids and keys alone; the rest of a user is read for the page only.
- What follows two keys, `(a, b) > (x, y)`, is one range of an index to PostgreSQL as it stands, to MariaDB when
  written with OR, and to SQLite only as a union of `a = x AND b > y` and `a > x`. SQLite sorts no union of unions.
- MariaDB takes no subquery for a range's bound, so what bounds a range is found by a statement before.
- SQLite uses one lower and one upper bound of a range and no more.

The parameters of the statements are in `finding.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    asc,
    bindparam,
    desc,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    union_all,
)

from userapi.listing.cursor import Order
from userapi.models import USER_ROW, User, column

Statement = TypeVar("Statement", Select[Any], CompoundSelect[Any])

_ID, _USERNAME, _EMAIL = column(User.id), column(User.username_key), column(User.email_key)


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

    # Whether to look the users up by both names' indexes, or to go through all users; None lets the database decide,
    # which it does well if no order is asked for.
    indexed: bool | None = None

    def narrow(self, users: Select[Any]) -> Select[Any]:
        """Return the statement for those of its users that the search finds."""
        if self.indexed is None:
            return users.where(or_(starts(_USERNAME), starts(_EMAIL)))
        if not self.indexed:  # the concatenation hides the column from its index
            return users.where(or_(starts(_USERNAME.concat("")), starts(_EMAIL.concat(""))))
        by_username = select(_ID).where(starts(_USERNAME))
        by_email = select(_ID).where(starts(_EMAIL), not_(starts(_USERNAME)))  # nobody twice
        ids = union_all(by_username, by_email).subquery("matches")
        return users.join(ids, ids.c.id == _ID)


Conditions = tuple[Filter | Search, ...]


@dataclass(frozen=True)
class Plan(ABC):
    """A way to find the users that fulfil the conditions, in an order, from its beginning or after a cursor.

    What is before a cursor comes after it in the reverse order.
    """

    order: Order
    after: bool
    conditions: Conditions

    @abstractmethod
    def statement(self, dialect: str) -> Select[Any] | CompoundSelect[Any]:
        """Return the statement for a page: of each user the columns of a `UserRow`, then the order's keys."""


class InOrder(Plan):
    """Go through the users in the order asked for, by its index, and check each until the page is full."""

    def statement(self, dialect: str) -> CompoundSelect[Any]:
        """Return the statement for a page."""
        users = _narrowed(select(*USER_ROW, *_keys(self.order)), self.conditions)
        parts = [users.where(part) for part in _following(self.order, dialect)] if self.after else [users]
        return _page(union_all(*parts), self.order)  # of one, it is that statement itself


class FewThenSort(Plan):
    """Look up all users that fulfil a condition which few do, and sort them."""

    def statement(self, dialect: str) -> Select[Any]:
        """Return the statement for a page."""
        users = _narrowed(select(_ID, *_keys(self.order)), self.conditions)
        return _whole(users.where(or_(*_following(self.order, dialect))) if self.after else users, self.order)


class ByMatchingName(Plan):
    """Read two ranges of two indexes, usernames and addresses, no further than the page reaches, and merge them.

    Who matches by both names stands under the username only. Those are skipped in the range of addresses, which is
    therefore read just as far as the usernames of this page go: up to the parameter `edge`.
    """

    def statement(self, dialect: str) -> Select[Any]:  # noqa: ARG002 - the same on each database
        """Return the statement for a page."""
        names, addresses = self.range(_USERNAME, "edge"), self.range(_EMAIL, "edge").where(not_(starts(_USERNAME)))
        reached = [select(found.limit(bindparam("reach")).subquery()) for found in (names, addresses)]
        return _whole(select(union_all(*reached).subquery("both")), self.order)

    @property
    def end(self) -> str:
        """Return the parameter that is the search's end, in this direction."""
        return "low" if self.order.descending else "high"

    def range(self, name: ColumnElement[str], end: str) -> Select[Any]:
        """Return the statement for the names in their order, from the cursor or the search's begin to a parameter."""
        if self.order.descending:  # from a cursor backwards
            bounds, order = (name < bindparam("after_0"), name >= bindparam(end)), desc(name)
        else:
            begin = name > bindparam("after_0") if self.after else name >= bindparam("low")
            bounds, order = (begin, name <= bindparam(end)), asc(name)
        users = select(_ID).add_columns(name.label("key_0"))
        return _narrowed(users.where(*bounds).order_by(order), self.conditions)


@lru_cache(512)
def page_statement(plan: Plan, dialect: str) -> Select[Any] | CompoundSelect[Any]:
    """Return a plan's statement, made once."""
    return plan.statement(dialect)


@lru_cache(64)
def last_name_statement(plan: ByMatchingName) -> Select[Any]:
    """Return the statement for the username that a page and the sign of a next one reach, of usernames alone."""
    return plan.range(_USERNAME, plan.end).with_only_columns(_USERNAME).limit(1).offset(bindparam("last"))


@lru_cache(256)
def count_statement(conditions: Conditions) -> Select[Any]:
    """Return the statement that counts the users who fulfil the conditions."""
    return _narrowed(select(func.count()).select_from(User), conditions)


def starts(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Return that a name starts as searched for: a range, for an index serves it and no character is a wildcard."""
    return and_(name >= bindparam("low"), name < bindparam("high"))


def _narrowed(users: Select[Any], conditions: Conditions) -> Select[Any]:
    return reduce(lambda found, condition: condition.narrow(found), conditions, users)


def _keys(order: Order) -> list[ColumnElement[Any]]:
    return [key.label(name) for key, name in zip(order.keys, order.key_names, strict=True)]


def _sorted(users: Statement, order: Order) -> Statement:
    return users.order_by(*(desc(name) if order.descending else asc(name) for name in order.key_names))


def _page(users: Statement, order: Order) -> Statement:
    return _sorted(users, order).limit(bindparam("limit")).offset(bindparam("offset"))


def _whole(users: Select[Any], order: Order) -> Select[Any]:
    """Return the statement that reads all of the users on a page, of whom another gives ids and keys."""
    page = _page(users, order).subquery("page")
    kept = [page.c[name] for name in order.key_names]
    return _sorted(select(*USER_ROW, *kept).join(page, page.c.id == _ID), order)


def _following(order: Order, dialect: str) -> list[ColumnElement[bool]]:
    """Return conditions of what follows a cursor, which exclude each other and each of which an index serves.

    Among users with the same first key, those of an import for instance, the second decides.
    """
    bounds = [bindparam(f"after_{place}", type_=key.type) for place, key in enumerate(order.keys)]
    if len(order.keys) > 1 and dialect == "postgresql":
        keys, bound = tuple_(*order.keys), tuple_(*bounds)
        return [keys < bound if order.descending else keys > bound]
    beyond = [key < bound if order.descending else key > bound for key, bound in zip(order.keys, bounds, strict=True)]
    if len(beyond) == 1:
        return beyond
    parts = [and_(order.keys[0] == bounds[0], beyond[1]), beyond[0]]
    return parts if dialect == "sqlite" else [or_(*parts)]
