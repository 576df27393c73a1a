"""The choice of a plan, by counting a few users first where a database would choose badly."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select, union_all

from userapi.models import User, column
from userapi.users.listing.conditions import Conditions, Filter, Search, starts
from userapi.users.listing.orders import BY_ID, BY_MATCHING_NAME, SORTED
from userapi.users.listing.plans import ByMatchingName, FewThenSort, InOrder, Plan
from userapi.users.listing.query import Filters, ListQuery

FEW = 5000  # users that are found and then sorted, rather than looked for in the order wanted

Parameters = Mapping[str, Any]


class Choice(NamedTuple):
    """How to find a page, and by which conditions to count all users, if that is asked for."""

    plan: Plan
    counted: Conditions


def choose(connection: Connection, query: ListQuery, parameters: Parameters) -> Choice:
    """Return how to find the users that the query asks for."""
    after, filters = query.after is not None, tuple(Filter(*item) for item in query.filters.items())
    rare, shown = None, filters
    if _needs_guidance(query, connection.dialect.name):
        rare = next((one for one in filters if _few(connection, _PASSING[one.column], {"value": one.value})), None)
        shown = tuple(Filter(one.column, one.value, indexed=one is rare) for one in filters)
    counted = shown if rare else filters  # to count many users, an index has less to read
    search: tuple[Search, ...] = ()
    if query.q is not None and (query.sort or query.total):
        search = (Search(indexed=_few(connection, _MATCHING, parameters)),)
    if query.order is BY_MATCHING_NAME:
        plan: Plan = ByMatchingName(query.order, after, shown)
    elif rare or Search(indexed=True) in search:
        plan = FewThenSort(query.order, after, (*shown, *search))
    else:
        plan = InOrder(query.order, after, (*shown, *search))
    return Choice(plan, (*counted, *search))


def _needs_guidance(query: ListQuery, dialect: str) -> bool:
    """Tell whether the database could take the index of a filter that many users pass."""
    if not query.filters or dialect == "postgresql" or (dialect == "mysql" and len(query.filters) == 1):
        return False
    by_id = query.order in {BY_ID, SORTED["-id"]}  # that is the order in the index of each filter
    return len(query.filters) > 1 or query.q is not None or not by_id


def _few(connection: Connection, count: Select[int], parameters: Parameters) -> bool:
    return connection.scalars(count, {**parameters, "few": FEW}).one() < FEW


def _up_to_few(*conditions: ColumnElement[bool]) -> Select[int]:
    """Return the statement that counts the users of each condition, none of them further than to `few`."""
    found = [select(select(column(User.id)).where(one).limit(bindparam("few")).subquery().c.id) for one in conditions]
    return select(func.count()).select_from(union_all(*found).subquery())


_PASSING = {name: _up_to_few(column(getattr(User, name)) == bindparam("value")) for name in Filters.model_fields}
_MATCHING = _up_to_few(starts(column(User.username_key)), starts(column(User.email_key)))
