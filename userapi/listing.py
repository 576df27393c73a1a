"""Which users a list shows, in which order, from where on."""

import base64
import binascii
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError, model_validator
from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    column,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.sql.elements import ColumnElement

from userapi.columns import USERS, json_array, listed
from userapi.models import MAX_EMAIL, UserId, canonical

MAX_ROWS = 2**31 - 1
FEW = 5000  # users that are found and then sorted, rather than looked for in the order wanted
LAST_CHARACTER = "\U0010ffff"

Sort = Literal["id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]

_Key = Annotated[str, Field(max_length=MAX_EMAIL, pattern=r"^[^\x00]*$")]
_Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
_MATCHED = "matched"
_ORDERS: dict[str, tuple[list[Any], TypeAdapter[Any]]] = {
    "id": ([USERS.id], TypeAdapter(tuple[UserId])),
    "username": ([USERS.username_key], TypeAdapter(tuple[_Key])),
    "email": ([USERS.email_key], TypeAdapter(tuple[_Key])),
    "created_at": ([USERS.created_at, USERS.id], TypeAdapter(tuple[_Instant, UserId])),
    _MATCHED: ([column("matched")], TypeAdapter(tuple[_Key])),  # of a search: the name that matches, of either kind
}
_PLACES = {"page", "after"}


class ListQuery(BaseModel):
    """Which users to list."""

    page: int = Field(1, ge=1, description="Counted from 1; page times page_size stays below 2^31")
    page_size: int = Field(10, ge=1, le=100)
    is_active: bool | None = None
    is_admin: bool | None = None
    q: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_EMAIL,
        pattern=r"^[^\x00]*$",
        description="Start of the username or of the e-mail address, in any letter case",
    )
    sort: Sort | None = Field(
        None, description="`-` for descending. Without: by id or, under `q`, by the name that matches"
    )
    after: str | None = Field(
        None, max_length=2048, description="A cursor from `Link`: the users after it, whatever the depth, as fast"
    )
    total: bool = Field(False, description="Count them all, in `X-Total-Count`")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.page * self.page_size > MAX_ROWS:
            raise ValueError("page times page_size must stay below 2^31")
        if self.after is not None:
            if "page" in self.model_fields_set:
                raise ValueError("page and after exclude each other")
            _decode(self.after, self.order)
        return self

    @property
    def order(self) -> str:
        """What the list is sorted by."""
        return self.sort or (_MATCHED if self.q else "id")


class Page(NamedTuple):
    """Some users as a JSON array, the cursor of those that follow, if any, and how many in all, if that was asked."""

    users: bytes
    next: str | None
    total: int | None


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
        parameters |= {f"after_{n}": value for n, value in enumerate(_decode(query.after, query.order))}
        if query.order == _MATCHED:
            parameters["after_0"] = max(parameters["after_0"], parameters["low"])
    dialect, after = connection.dialect.name, query.after is not None
    filters = _Filters(query.is_active, query.is_admin, _guide(connection, query))
    matches = last_name = None
    if query.order == _MATCHED:
        last_name = connection.scalars(_last_name(after, filters), parameters).first()
        parameters["edge"] = parameters["high"] if last_name is None else last_name
    if query.q is not None and (query.sort or query.total):
        matches = "few" if connection.scalars(_MATCHES, parameters).one() < FEW else "many"
    rows = connection.execute(_statement(dialect, query.order, after, matches, filters), parameters).all()
    total = connection.scalars(_count(matches, filters), parameters).one() if query.total else None
    more = len(rows) > query.page_size or bool(rows and last_name)  # up to the last name some may be gone by now
    shown = rows[: query.page_size]
    return Page(json_array(dialect, shown), _encode(shown[-1], query.order) if more else None, total)


def links(query: ListQuery, page: Page, path: str) -> str:
    """Give the `Link` header (RFC 8288): relative references that keep the filters.

    Who numbers the pages gets numbers; else the next page is a cursor, which costs the same at any depth.
    """
    given = {name: getattr(query, name) for name in sorted(query.model_fields_set - _PLACES)}
    filters = urlencode(
        {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    )

    def link(relation: str, place: str = "") -> str:
        parameters = "&".join(filter(None, (filters, place)))
        return f'<{path}{parameters and "?"}{parameters}>; rel="{relation}"'

    numbered = "page" in query.model_fields_set
    found = [link("first", "page=1" if numbered else "")]
    if numbered and query.page > 1:
        found.append(link("prev", f"page={query.page - 1}"))
    if page.next and numbered and (query.page + 1) * query.page_size <= MAX_ROWS:
        found.append(link("next", f"page={query.page + 1}"))
    elif page.next:
        found.append(link("next", f"after={page.next}"))
    if page.total is not None:
        found.append(link("last", f"page={max(1, -(-page.total // query.page_size))}"))
    return ", ".join(found)


def _encode(row: Row[Any], order: str) -> str:
    """Give the cursor of what follows a row, whose last columns are what it is sorted by."""
    keys, adapter = _order(order)
    return base64.urlsafe_b64encode(order.encode() + b":" + adapter.dump_json(row[-len(keys) :])).decode().rstrip("=")


def _decode(cursor: str, order: str) -> tuple[Any, ...]:
    try:
        made_for, _, key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).partition(b":")
        values: tuple[Any, ...] = _order(order)[1].validate_json(key)
    except (ValueError, binascii.Error, ValidationError):
        raise ValueError("after is not a cursor of this order") from None
    if made_for != order.encode():
        raise ValueError("after is not a cursor of this order")
    return values


def _order(order: str) -> tuple[list[Any], TypeAdapter[Any]]:
    return _ORDERS[order.removeprefix("-")]


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
    keys, descending = _order(order)[0], order.startswith("-")

    def in_order(found: Any, columns: Any) -> Any:
        return found.order_by(*(columns[key.name].desc() if descending else columns[key.name] for key in keys))

    # What has to be sorted is sorted by ids and keys only; the rest of a user is read for the page alone.
    direct = order != _MATCHED and matches != "few" and not filters.guide
    if order == _MATCHED:
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


@lru_cache(32)
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
