"""Pages of events, the newest first; what is older follows a cursor at the same cost at any depth."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import sqlalchemy
from pydantic import Field, TypeAdapter
from sqlalchemy import ColumnElement, Connection, func

from userapi.activity.query import ActivityQuery
from userapi.errors import ApiError, ErrorCode
from userapi.events.models import OPERATOR, Event, EventPublic
from userapi.listing.cursor import Order, cursor_at, keys_at
from userapi.models import Instant, column

_EventId = Annotated[int, Field(ge=1, le=2**63 - 1)]
_at, _id = column(Event.at), column(Event.id)
_NEWEST_FIRST = Order("events", (_at, _id), TypeAdapter(tuple[Instant, _EventId]), descending=True)
_COLUMNS: list[Any] = [getattr(Event, name) for name in EventPublic.model_fields]
# By the first of these that is asked for, events are found, or by a user and a name, which have an index together;
# `coalesce` hides the indexes of the others, since SQLite would take any.
_FILTERS: dict[str, ColumnElement[Any]] = {
    "user_id": column(Event.user_id),
    "actor_id": column(Event.actor_id),
    "name": column(Event.name),
}


class Page(NamedTuple):
    """Some events, and the cursor of those that follow, if any."""

    events: Sequence[EventPublic]
    next: str | None


def find_page(connection: Connection, query: ActivityQuery, user_id: int | None) -> Page:
    """Return a page of events, of all that are asked for or of those about a user.

    Raises:
        ApiError: validation_error; the cursor is none.
    """
    found = sqlalchemy.select(*_COLUMNS).where(*_conditions(query, user_id))
    rows = connection.execute(found.order_by(_at.desc(), _id.desc()).limit(query.page_size + 1)).all()
    shown = rows[: query.page_size]
    cursor = cursor_at(_NEWEST_FIRST, (shown[-1].at, shown[-1].id)) if len(rows) > len(shown) else None
    return Page([_public(row) for row in shown], cursor)


def find_newer(connection: Connection, event_id: int, limit: int) -> list[EventPublic]:
    """Return events with ids above this one, by id, at most so many."""
    newer = sqlalchemy.select(*_COLUMNS).where(_id > event_id)
    return [_public(row) for row in connection.execute(newer.order_by(_id).limit(limit))]


def newest_id(connection: Connection) -> int:
    """Return the id of the newest event; 0 if there is none."""
    return connection.execute(sqlalchemy.select(func.max(_id))).scalar_one() or 0


def kept(query: ActivityQuery) -> dict[str, Any]:
    """Return the parameters of a query that those of the pages around share."""
    return query.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude={"after"})


def places(page: Page) -> dict[str, str]:
    """Return where the pages around a page are: for each relation (RFC 8288) the parameter that leads there."""
    return {"first": ""} | ({"next": f"after={page.next}"} if page.next else {})


def _conditions(query: ActivityQuery, user_id: int | None) -> list[ColumnElement[bool]]:
    asked = query.model_dump(include=set(_FILTERS), exclude_none=True) | ({"user_id": user_id} if user_id else {})
    if asked.get("actor_id") == "operator":
        asked["actor_id"] = OPERATOR
    together = {"user_id", "name"}
    first = next((name for name in _FILTERS if name in asked), None)
    indexed = together if together <= asked.keys() else {first}
    conditions = [_equal(_FILTERS[name], value, indexed=name in indexed) for name, value in asked.items()]
    if query.since is not None:
        conditions.append(_at >= query.since)
    try:
        at, event_id = keys_at(query.after, _NEWEST_FIRST) if query.after else (None, None)
    except ValueError as error:
        raise ApiError(ErrorCode.VALIDATION_ERROR, str(error), loc=("query", "after"), rule="cursor_invalid") from error
    if at is not None and (query.until is None or at < query.until):  # SQLite makes use of one upper bound
        conditions += [_at <= at, (_at < at) | (_id < event_id)]
    elif query.until is not None:
        conditions.append(_at < query.until)
    return conditions


def _equal(found: ColumnElement[Any], value: int | str, *, indexed: bool) -> ColumnElement[bool]:
    return (found if indexed else func.coalesce(found, -1 if isinstance(value, int) else "")) == value


def _public(row: Any) -> EventPublic:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    if values["actor_id"] == OPERATOR:
        values["actor_id"] = "operator"
    return EventPublic.model_construct(**values)
