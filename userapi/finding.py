"""Finds the users of a page, by statements in the form that each database's indexes serve."""

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, false, func, not_, or_, select, tuple_, union_all
from sqlalchemy.sql.elements import ColumnElement

from userapi.columns import USERS, json_array, listed
from userapi.listing import MATCHED, ListQuery, Page, cursor_after, keys_of, position
from userapi.models import canonical

FEW = 5000  # users that are found and then sorted, rather than looked for in the order wanted
LAST_CHARACTER = "\U0010ffff"


class _Filters(NamedTuple):
    """What else must hold of users; and the column of these whose index may be used, if not each may (None)."""

    is_active: bool | None
    is_admin: bool | None
    guide: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        columns = [(USERS.is_active, self.is_active), (USERS.is_admin, self.is_admin)]
        return [
            (column if self.guide in (None, column.name) else func.coalesce(column, false())) == value
            for column, value in columns
            if value is not None
        ]


def find_page(connection: Connection, query: ListQuery) -> Page:
    """Give the users of a page or after a cursor."""
    offset = 0 if query.after else (query.page - 1) * query.page_size
    parameters: dict[str, Any] = {"limit": query.page_size + 1, "offset": offset, "reach": offset + query.page_size + 1}
    parameters |= {"last": parameters["reach"] - 1, "few": FEW}
    if query.q is not None:
        prefix = canonical(query.q.strip())
        parameters |= {"low": prefix, "high": prefix + LAST_CHARACTER}
    if query.after is not None:
        parameters |= {f"after_{n}": value for n, value in enumerate(position(query.after, query.order))}
        if query.order == MATCHED:
            parameters["after_0"] = max(parameters["after_0"], parameters["low"])
    dialect, after = connection.dialect.name, query.after is not None
    filters = _Filters(query.is_active, query.is_admin, _guide(connection, query))
    matches = last_name = None
    if query.order == MATCHED:
        last_name = connection.scalars(_last_name(after, filters), parameters).first()
        parameters["edge"] = parameters["high"] if last_name is None else last_name
    if query.q is not None and (query.sort or query.total):
        matches = "few" if connection.scalars(_MATCHES, parameters).one() < FEW else "many"
    rows = connection.execute(_statement(dialect, query.order, after, matches, filters), parameters).all()
    total = connection.scalars(_count(matches, filters), parameters).one() if query.total else None
    more = len(rows) > query.page_size or bool(rows and last_name)  # up to the last name some may be gone by now
    shown = rows[: query.page_size]
    return Page(json_array(dialect, shown), cursor_after(shown[-1], query.order) if more else None, total)


def _starts(column: Any) -> ColumnElement[bool]:
    """A prefix as a range: an index serves it on every database, and no character is a wildcard."""
    return and_(column >= bindparam("low"), column < bindparam("high"))


def _guide(connection: Connection, query: ListQuery) -> str | None:
    """Find the filter that leaves few users; "" if none does, None if the database chooses well by itself.

    SQLite does not know how often a value occurs: for the active users in any order it would take the index of
    `is_active`, and sort nearly all there are; so would MariaDB under both filters. They shall see what helps.
    """
    dialect = connection.dialect.name
    given = {name: value for name in _AT_MOST_FEW if (value := getattr(query, name)) is not None}
    if not given or dialect == "postgresql" or (len(given) == 1 and dialect == "mysql"):
        return None
    if len(given) == 1 and not query.q and query.order in {"id", "-id"}:
        return None
    for name, value in given.items():
        if connection.scalars(_AT_MOST_FEW[name], {"value": value, "few": FEW}).one() < FEW:
            return name
    return ""


def _found(statement: Select[Any], matches: str | None) -> Select[Any]:
    """Those of a statement's users that a search finds: `few` by the indexes, `many` by going through all there are."""
    if matches == "few":  # who matches by both names is found by the username
        by_username = select(USERS.id).where(_starts(USERS.username_key))
        by_email = select(USERS.id).where(_starts(USERS.email_key), not_(_starts(USERS.username_key)))
        ids = union_all(by_username, by_email).subquery("matches")
        return statement.join(ids, ids.c.id == USERS.id)
    if matches == "many":  # the concatenation keeps from the indexes
        return statement.where(or_(_starts(USERS.username_key.concat("")), _starts(USERS.email_key.concat(""))))
    return statement


@lru_cache(256)
def _count(matches: str | None, filters: _Filters) -> Any:
    filters = filters._replace(guide=filters.guide or None)  # to count many users, too, an index has less to read
    return _found(select(func.count()).select_from(USERS.id.table).where(*filters.conditions()), matches)


_ALL_MATCHES = union_all(
    *(
        select(select(USERS.id).where(_starts(key)).limit(bindparam("few")).subquery().c.id)
        for key in (USERS.username_key, USERS.email_key)
    )
)
_MATCHES = select(func.count()).select_from(_ALL_MATCHES.subquery())
_AT_MOST_FEW = {
    name: select(func.count()).select_from(
        select(USERS.id).where(USERS[name] == bindparam("value")).limit(bindparam("few")).subquery()
    )
    for name in ("is_admin", "is_active")
}


@lru_cache(512)
def _statement(dialect: str, order: str, after: bool, matches: str | None, filters: _Filters) -> Any:
    """The users of a page, and at the end of each row what it is sorted by."""
    keys, descending = keys_of(order), order.startswith("-")

    def in_order(found: Any, columns: Any) -> Any:
        return found.order_by(*(columns[key.name].desc() if descending else columns[key.name] for key in keys))

    # What has to be sorted is sorted by ids and keys only; the rest of a user is read for the page alone.
    direct = order != MATCHED and matches != "few" and not filters.guide
    if order == MATCHED:
        found: Any = _by_either_name(filters, after)
    else:
        found = _found(
            select(*(listed(dialect) if direct else [USERS.id]), *keys).where(*filters.conditions()), matches
        )
        if after:
            # Where few are found, SQLite sorts them anyway; and it sorts no union of unions.
            first, *others = (found.where(part) for part in _following(keys, descending, dialect if direct else "any"))
            found = union_all(first, *others) if others else first
    found = in_order(found, found.selected_columns).limit(bindparam("limit")).offset(bindparam("offset"))
    if direct:
        return found
    page = found.subquery("page")
    users = select(*listed(dialect), *(page.c[key.name] for key in keys)).join(page, page.c.id == USERS.id)
    return in_order(users, page.c)


def _following(keys: list[Any], descending: bool, dialect: str) -> list[ColumnElement[bool]]:
    """What comes after a cursor: conditions that exclude each other, in the form that this database's index serves.

    The second key matters: all users may be of one instant, those of an import.
    """

    def beyond(key: Any, bound: Any) -> Any:
        return key < bound if descending else key > bound

    bounds = [bindparam(f"after_{n}", type_=key.type) for n, key in enumerate(keys)]
    if len(keys) == 1:
        return [beyond(keys[0], bounds[0])]
    if dialect == "postgresql":
        return [beyond(tuple_(*keys), tuple_(*bounds))]
    parts = [and_(keys[0] == bounds[0], beyond(keys[1], bounds[1])), beyond(keys[0], bounds[0])]
    return parts if dialect == "sqlite" else [or_(*parts)]


@lru_cache(64)
def _last_name(after: bool, filters: _Filters) -> Select[Any]:
    """The username that a page and the sign of a next one reach, were it of usernames only."""
    found = _from_here(USERS.username_key, bindparam("high"), after).with_only_columns(USERS.username_key)
    return found.where(*filters.conditions()).limit(1).offset(bindparam("last"))


def _by_either_name(filters: _Filters, after: bool) -> Select[Any]:
    """Ids of users by the name that matches: two ranges of two indexes, each read no further than the page reaches.

    Who matches by both names stands under the username only. Those are skipped in the range of addresses, so that one
    is read just as far as the usernames of this page go. To know this before is a statement of its own: MariaDB
    bounds a range by no subquery.
    """

    def reach(found: Select[Any]) -> Any:
        return select(found.limit(bindparam("reach")).subquery())

    names = _from_here(USERS.username_key, bindparam("edge"), after).where(*filters.conditions())
    addresses = _from_here(USERS.email_key, bindparam("edge"), after)
    addresses = addresses.where(not_(_starts(USERS.username_key)), *filters.conditions())
    return select(union_all(reach(names), reach(addresses)).subquery("both"))


def _from_here(key: Any, end: Any, after: bool) -> Select[Any]:
    """Users by this key, from the page's beginning; one bound a side, since SQLite uses no more."""
    begin = key > bindparam("after_0") if after else key >= bindparam("low")
    return select(USERS.id, key.label("matched")).where(begin, key <= end).order_by(key)
