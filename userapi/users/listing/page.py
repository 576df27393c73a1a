"""A page of users, found."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from userapi.models import UserRow, canonical
from userapi.users.listing.choice import choose
from userapi.users.listing.cursor import cursor_at, keys_at
from userapi.users.listing.orders import BY_MATCHING_NAME
from userapi.users.listing.plans import ByMatchingName, count_statement, last_name_statement, page_statement
from userapi.users.listing.query import ListQuery

LAST_CHARACTER = "\U0010ffff"


class Page(NamedTuple):
    """Some users, the cursor of those that follow, if any, and how many there are in all, if that was asked."""

    users: Sequence[UserRow]
    next: str | None
    total: int | None


def find_page(connection: Connection, query: ListQuery) -> Page:
    """Return the users of a page or after a cursor."""
    parameters = _parameters(query)
    plan, counted = choose(connection, query, parameters)
    names_follow = False
    if isinstance(plan, ByMatchingName):
        last_name = connection.scalars(last_name_statement(plan), parameters).first()
        names_follow = last_name is not None
        parameters["edge"] = last_name if names_follow else parameters["high"]
    rows = connection.execute(page_statement(plan, connection.dialect.name), parameters).all()
    total = connection.scalars(count_statement(counted), parameters).one() if query.total else None
    more = len(rows) > query.page_size or (names_follow and bool(rows))  # some of those names may be gone by now
    shown, width = rows[: query.page_size], len(UserRow._fields)
    following = cursor_at(query.order, tuple(shown[-1][width:])) if more else None
    return Page([UserRow._make(row[:width]) for row in shown], following, total)


def _parameters(query: ListQuery) -> dict[str, Any]:
    """Return the parameters of all statements that may find the page.

    `limit` is one user more than shown, the sign of a next page; `reach` is how many users that is from the beginning,
    and `last` the place of the last of them. `low` and `high` bound a search, `after_0` ... are a cursor's keys.
    """
    offset = 0 if query.after else (query.page - 1) * query.page_size
    reach = offset + query.page_size + 1
    parameters: dict[str, Any] = {"limit": query.page_size + 1, "offset": offset, "reach": reach, "last": reach - 1}
    if query.q is not None:
        prefix = canonical(query.q.strip())
        parameters |= {"low": prefix, "high": prefix + LAST_CHARACTER}
    if query.after is not None:
        parameters |= {f"after_{place}": key for place, key in enumerate(keys_at(query.after, query.order))}
        if query.order is BY_MATCHING_NAME:
            parameters["after_0"] = max(parameters["after_0"], parameters["low"])
    return parameters
