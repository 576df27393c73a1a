"""A page of users is found: a plan is chosen, by counting a few users where a database would choose badly."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, func, select, union_all

from userapi.kit.web.links import numbered
from userapi.listing import plans
from userapi.listing.cursor import BACKWARDS, BY_ID, BY_MATCHING_NAME, SORTED, cursor_at, keys_at
from userapi.listing.plans import ByMatchingName, Conditions, FewThenSort, Filter, InOrder, Plan, Search
from userapi.listing.query import MAX_ROWS, Filters, ListQuery
from userapi.models import User, UserRow, canonical, column

FEW = 5000  # users that are found and then sorted, rather than looked for in the order wanted
LAST_CHARACTER = "\U0010ffff"


class Page(NamedTuple):
    """Some users, the cursors of those that follow and precede, if any, and how many there are in all, if asked."""

    users: Sequence[UserRow]
    next: str | None
    total: int | None
    prev: str | None = None


def find_page(connection: Connection, query: ListQuery) -> Page:
    """Return the users of a page, or after or before a cursor."""
    parameters = _parameters(query)
    plan, counted = _choose(connection, query, parameters)
    names_follow = False
    if isinstance(plan, ByMatchingName):
        last_name = connection.scalars(plans.last_name_statement(plan), parameters).first()
        names_follow = last_name is not None
        parameters["edge"] = last_name if names_follow else parameters[plan.end]
    rows = connection.execute(plans.page_statement(plan, connection.dialect.name), parameters).all()
    total = connection.scalars(plans.count_statement(counted), parameters).one() if query.total else None
    more = len(rows) > query.page_size or (names_follow and bool(rows))  # some of those names may be gone by now
    backwards = query.before is not None
    shown = rows[: query.page_size][:: -1 if backwards else 1]

    def cursor(row: Row[Any]) -> str:
        return cursor_at(query.order, tuple(row[len(UserRow._fields) :]))

    # Ahead, one user more than shown tells; behind a cursor there was somebody.
    following = cursor(shown[-1]) if shown and (more or backwards) else None
    preceding = cursor(shown[0]) if shown and (more if backwards else query.after is not None) else None
    # Rows of the same names as those of a `UserRow`; to make others costs 5 %.
    return Page(cast("Sequence[UserRow]", shown), following, total, preceding)


def places(query: ListQuery, page: Page) -> dict[str, str]:
    """Return where the pages around a page are: for each relation (RFC 8288) the parameter that leads there.

    A client that numbers the pages gets numbers. Another gets a cursor, which costs the same at any depth.
    """
    if "page" in query.model_fields_set:
        found = numbered(query.page, more=bool(page.next) and (query.page + 1) * query.page_size <= MAX_ROWS)
    else:
        found = {"first": ""}
    if page.prev:
        found["prev"] = f"before={page.prev}"
    if page.next and "next" not in found:
        found["next"] = f"after={page.next}"
    if page.total is not None:
        found["last"] = f"page={max(1, -(-page.total // query.page_size))}"
    return found


def kept(query: ListQuery) -> dict[str, Any]:
    """Return the parameters of a query that those of the pages around share: filters, order and size."""
    given = ((name, getattr(query, name)) for name in sorted(query.model_fields_set - {"page", "after", "before"}))
    return {name: value for name, value in given if value is not None}


def _parameters(query: ListQuery) -> dict[str, Any]:
    """Return the parameters of all statements that may find the page.

    `limit` is one user more than shown, the sign of a next page; `reach` is how many users that is from the beginning,
    and `last` the place of the last of them. `low` and `high` bound a search, `after_0` ... are a cursor's keys.
    """
    offset = 0 if query.cursor else (query.page - 1) * query.page_size
    last = offset + query.page_size
    parameters: dict[str, Any] = {"limit": query.page_size + 1, "offset": offset, "reach": last + 1, "last": last}
    if query.q is not None:
        prefix = canonical(query.q.strip())
        parameters |= {"low": prefix, "high": prefix + LAST_CHARACTER}
    if query.cursor is not None:
        parameters |= {f"after_{place}": key for place, key in enumerate(keys_at(query.cursor, query.order))}
        if query.order is BY_MATCHING_NAME:
            nearest = (min, parameters["high"]) if query.before else (max, parameters["low"])
            parameters["after_0"] = nearest[0](parameters["after_0"], nearest[1])
    return parameters


def _choose(connection: Connection, query: ListQuery, parameters: Mapping[str, Any]) -> tuple[Plan, Conditions]:
    """Return how to find the users asked for, and by which conditions to count them all."""
    after, filters = query.cursor is not None, tuple(Filter(*item) for item in query.filters.items())
    order = query.order if query.before is None else BACKWARDS[query.order]
    rare, shown = None, filters
    if _needs_guidance(query, connection.dialect.name):
        rare = next((one for one in filters if _few(connection, _PASSING[one.column], {"value": one.value})), None)
        shown = tuple(Filter(one.column, one.value, indexed=one is rare) for one in filters)
    counted: Conditions = shown if rare else filters  # to count many users, an index has less to read
    if query.q is not None:
        counted = (*shown, Search())
    search: tuple[Search, ...] = ()
    if query.q is not None and query.sort:
        search = (Search(indexed=_few(connection, _MATCHING, parameters)),)
    plan: Plan
    if query.order is BY_MATCHING_NAME:
        plan = ByMatchingName(order, after, shown)
    elif rare or Search(indexed=True) in search:
        plan = FewThenSort(order, after, (*shown, *search))
    else:
        plan = InOrder(order, after, (*shown, *search))
    return plan, counted


def _needs_guidance(query: ListQuery, dialect: str) -> bool:
    """Tell whether the database could take the index of a filter that many users pass."""
    if not query.filters or dialect == "postgresql" or (dialect == "mysql" and len(query.filters) == 1):
        return False
    by_id = query.order in {BY_ID, SORTED["-id"]}  # that is the order in the index of each filter
    return len(query.filters) > 1 or query.q is not None or not by_id


def _few(connection: Connection, count: Select[int], parameters: Mapping[str, Any]) -> bool:
    return connection.scalars(count, {**parameters, "few": FEW}).one() < FEW


def _up_to_few(*conditions: ColumnElement[bool]) -> Select[int]:
    """Return the statement that counts the users of each condition, none of them further than to `few`."""
    found = [select(select(column(User.id)).where(one).limit(bindparam("few")).subquery().c.id) for one in conditions]
    return select(func.count()).select_from(union_all(*found).subquery())


_PASSING = {name: _up_to_few(column(getattr(User, name)) == bindparam("value")) for name in Filters.model_fields}
_MATCHING = _up_to_few(plans.starts(column(User.username_key)), plans.starts(column(User.email_key)))
