"""Pages of events, the newest first; what is older follows a cursor at the same cost at any depth."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

import sqlalchemy
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from sqlalchemy import ColumnElement, Connection, func

from userapi.listing.cursor import Order, cursor_at, keys_at
from userapi.models import MAX_EVENT_ID, OPERATOR, Event, EventName, EventPublic, UserId, column

Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
_EventId = Annotated[int, Field(ge=1, le=MAX_EVENT_ID)]
_at, _id = column(Event.at), column(Event.id)
_NEWEST_FIRST = Order("events", (_at, _id), TypeAdapter(tuple[Instant, _EventId]), descending=True)
_COLUMNS: list[Any] = [getattr(Event, name) for name in EventPublic.model_fields]
# By the first of these that is asked for, events are found; `coalesce` hides the indexes of the others, since SQLite
# would take any.
_FILTERS = {"user_id": column(Event.user_id), "actor_id": column(Event.actor_id), "name": column(Event.name)}


_ABSENT: dict[type, Any] = {int: -1, EventName: ""}


class ActivityQuery(BaseModel):
    """Which events of one user to list. An unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid")

    name: EventName | None = Field(None, description="Only events of this name")
    since: Instant | None = Field(None, description="Only events from this instant on")
    until: Instant | None = Field(None, description="Only events before this instant")
    page_size: int = Field(10, ge=1, le=100)
    after: str | None = Field(None, max_length=200, description="A cursor from `Link`: the older events after it")

    @model_validator(mode="after")
    def _known_cursor(self) -> Self:
        if self.after is not None:
            keys_at(self.after, _NEWEST_FIRST)
        return self


class EventQuery(ActivityQuery):
    """Which events to list."""

    user_id: UserId | None = Field(None, description="Only what is about this user")
    actor_id: UserId | Literal["operator"] | None = Field(None, description="Only what this user did, or a command")


class Page(NamedTuple):
    """Some events, and the cursor of those that follow, if any."""

    events: Sequence[EventPublic]
    next: str | None


def find_page(connection: Connection, query: ActivityQuery, user_id: int | None) -> Page:
    """Return a page of events, of all that are asked for or of those about a user."""
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


def links(query: ActivityQuery, page: Page, path: str) -> str:
    """Return the `Link` header (RFC 8288) of a page: relative references that keep the filters."""
    kept = query.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude={"after"})

    def link(relation: str, **place: str) -> str:
        parameters = urlencode({**kept, **place})
        return f'<{path}{parameters and "?"}{parameters}>; rel="{relation}"'

    return ", ".join([link("first"), *([link("next", after=page.next)] if page.next else [])])


def _conditions(query: ActivityQuery, user_id: int | None) -> list[ColumnElement[bool]]:
    asked = query.model_dump(include=set(_FILTERS), exclude_none=True) | ({"user_id": user_id} if user_id else {})
    if asked.get("actor_id") == "operator":
        asked["actor_id"] = OPERATOR
    wanted = [(found, asked[name]) for name, found in _FILTERS.items() if name in asked]
    hidden = [func.coalesce(found, _ABSENT[type(value)]) == value for found, value in wanted[1:]]
    conditions: list[ColumnElement[bool]] = [*(found == value for found, value in wanted[:1]), *hidden]
    if query.since is not None:
        conditions.append(_at >= query.since)
    at, event_id = keys_at(query.after, _NEWEST_FIRST) if query.after else (None, None)
    if at is not None and (query.until is None or at < query.until):  # SQLite makes use of one upper bound
        conditions += [_at <= at, (_at < at) | (_id < event_id)]
    elif query.until is not None:
        conditions.append(_at < query.until)
    return conditions


def _public(row: Any) -> EventPublic:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    if values["actor_id"] == OPERATOR:
        values["actor_id"] = "operator"
    return EventPublic.model_construct(**values)
