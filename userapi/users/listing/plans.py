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
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import CompoundSelect, Select, Subquery, and_, bindparam, func, not_, or_, select, tuple_, union_all
from sqlalchemy.sql.base import ColumnCollection
from sqlalchemy.sql.elements import ColumnElement

from userapi.models import USER_ROW, User, column
from userapi.users.listing.conditions import Conditions, Filter, narrowed, starts
from userapi.users.listing.orders import Order, key_name

Statement = TypeVar("Statement", Select[Any], CompoundSelect[Any])


@dataclass(frozen=True)
class InOrder:
    """Go through the users in the order asked for, by its index, and check each until the page is full."""

    order: Order
    after: bool
    conditions: Conditions

    def statement(self, dialect: str) -> Select[Any] | CompoundSelect[Any]:
        """Return the statement for a page, whose parameters are in `page.py`."""
        users = narrowed(select(*USER_ROW, *self.order.labelled_keys), self.conditions)
        parts = [users.where(part) for part in _following(self.order, dialect)] if self.after else [users]
        if len(parts) == 1:
            return _cut(_ordered(parts[0], self.order, parts[0].selected_columns))
        found = union_all(*parts)
        return _cut(_ordered(found, self.order, found.selected_columns))


@dataclass(frozen=True)
class FewThenSort:
    """Look up all users that fulfil a condition which few do, and sort them."""

    order: Order
    after: bool
    conditions: Conditions

    def statement(self, dialect: str) -> Select[Any]:  # noqa: ARG002 - the same on each database
        """Return the statement for a page."""
        users = narrowed(select(column(User.id), *self.order.labelled_keys), self.conditions)
        if self.after:
            users = users.where(_beyond(self.order))
        page = _cut(_ordered(users, self.order, users.selected_columns)).subquery("page")
        return _ordered(_whole(page, len(self.order.keys)), self.order, page.c)


@dataclass(frozen=True)
class ByMatchingName:
    """Read two ranges of two indexes, usernames and addresses, no further than the page reaches, and merge them.

    Who matches by both names stands under the username only. Those are skipped in the range of addresses, which is
    therefore read just as far as the usernames of this page go: up to the parameter `edge`.
    """

    order: Order
    after: bool
    filters: tuple[Filter, ...]

    def last_name(self) -> Select[Any]:
        """Return the statement for the username that a page and the sign of a next one reach, of usernames alone."""
        names = narrowed(self._from_here(column(User.username_key), bindparam("high")), self.filters)
        return names.with_only_columns(column(User.username_key)).limit(1).offset(bindparam("last"))

    def statement(self, dialect: str) -> Select[Any]:  # noqa: ARG002 - the same on each database
        """Return the statement for a page."""
        names = self._from_here(column(User.username_key), bindparam("edge"))
        addresses = self._from_here(column(User.email_key), bindparam("edge")).where(
            not_(starts(column(User.username_key)))
        )
        reached = [
            select(narrowed(found, self.filters).limit(bindparam("reach")).subquery()) for found in (names, addresses)
        ]
        both = select(union_all(*reached).subquery("both"))
        page = _cut(both.order_by(both.selected_columns[key_name(0)])).subquery("page")
        return _whole(page, 1).order_by(page.c[key_name(0)])

    def _from_here(self, name: ColumnElement[str], end: ColumnElement[str]) -> Select[Any]:
        begin = name > bindparam("after_0") if self.after else name >= bindparam("low")
        found: Any = select(column(User.id), name.label(key_name(0)))
        users: Select[Any] = found.where(begin, name <= end).order_by(name)
        return users


Plan = InOrder | FewThenSort | ByMatchingName


@lru_cache(512)
def page_statement(plan: Plan, dialect: str) -> Select[Any] | CompoundSelect[Any]:
    """Return a plan's statement, made once: of each user the tagged columns, then the order's keys."""
    return plan.statement(dialect)


@lru_cache(64)
def last_name_statement(plan: ByMatchingName) -> Select[Any]:
    """Return the plan's statement for the last username, made once."""
    return plan.last_name()


@lru_cache(256)
def count_statement(conditions: Conditions) -> Select[Any]:
    """Return the statement that counts the users who fulfil the conditions, made once."""
    return narrowed(select(func.count()).select_from(User), conditions)


def _cut(found: Statement) -> Statement:
    """Return the part of the statement that a page shows."""
    return found.limit(bindparam("limit")).offset(bindparam("offset"))


def _ordered(users: Statement, order: Order, columns: ColumnCollection[str, ColumnElement[Any]]) -> Statement:
    """Return the statement sorted by the order's keys among the columns."""
    keys = [columns[key_name(place)] for place in range(len(order.keys))]
    return users.order_by(*(key.desc() if order.descending else key for key in keys))


def _whole(page: Subquery, keys: int) -> Select[Any]:
    """Return the statement that reads all of the users of whom a page has only ids and keys."""
    kept = [page.c[key_name(place)] for place in range(keys)]
    return select(*USER_ROW, *kept).join(page, page.c.id == column(User.id))


def _following(order: Order, dialect: str) -> list[ColumnElement[bool]]:
    """Return conditions of what follows a cursor, which exclude each other and each of which an index serves."""
    if len(order.keys) == 1 or dialect == "mysql":
        return [_beyond(order)]
    if dialect == "postgresql":
        keys, bounds = tuple_(*order.keys), tuple_(*_bounds(order))
        return [keys < bounds if order.descending else keys > bounds]
    return _parts(order)


def _beyond(order: Order) -> ColumnElement[bool]:
    """Return the condition of what follows a cursor. Among users of one instant, those of an import, the id decides."""
    return or_(*_parts(order))


def _parts(order: Order) -> list[ColumnElement[bool]]:
    """Return what follows a cursor by the first key and, where there are two, among the users with the same first."""
    bounds = _bounds(order)
    beyond = [key < bound if order.descending else key > bound for key, bound in zip(order.keys, bounds, strict=True)]
    if len(beyond) == 1:
        return beyond
    return [and_(order.keys[0] == bounds[0], beyond[1]), beyond[0]]


def _bounds(order: Order) -> list[ColumnElement[Any]]:
    return [bindparam(f"after_{place}", type_=key.type) for place, key in enumerate(order.keys)]
