"""What a list may be asked for, and how its pages refer to each other."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError, model_validator
from sqlalchemy import Row, column

from userapi.columns import USERS
from userapi.models import MAX_EMAIL, UserId

MAX_ROWS = 2**31 - 1
MATCHED = "matched"  # the order of a search without another: by the name that matches, of either kind

Sort = Literal["id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]

_Key = Annotated[str, Field(max_length=MAX_EMAIL, pattern=r"^[^\x00]*$")]
_Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
_ORDERS: dict[str, tuple[list[Any], TypeAdapter[Any]]] = {
    "id": ([USERS.id], TypeAdapter(tuple[UserId])),
    "username": ([USERS.username_key], TypeAdapter(tuple[_Key])),
    "email": ([USERS.email_key], TypeAdapter(tuple[_Key])),
    "created_at": ([USERS.created_at, USERS.id], TypeAdapter(tuple[_Instant, UserId])),
    MATCHED: ([column(MATCHED)], TypeAdapter(tuple[_Key])),
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
            position(self.after, self.order)
        return self

    @property
    def order(self) -> str:
        """What the list is sorted by."""
        return self.sort or (MATCHED if self.q else "id")


class Page(NamedTuple):
    """Some users as a JSON array, the cursor of those that follow, if any, and how many in all, if that was asked."""

    users: bytes
    next: str | None
    total: int | None


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


def cursor_after(row: Row[Any], order: str) -> str:
    """Give the cursor of what follows a row, whose last columns are the keys of the order."""
    keys, adapter = _ORDERS[order.removeprefix("-")]
    return base64.urlsafe_b64encode(order.encode() + b":" + adapter.dump_json(row[-len(keys) :])).decode().rstrip("=")


def position(cursor: str, order: str) -> tuple[Any, ...]:
    """Give the values of the order's keys that a cursor stands for.

    Raises: ValueError, if it was made for another order, or not by `cursor_after`.
    """
    try:
        made_for, _, key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).partition(b":")
        values: tuple[Any, ...] = _ORDERS[order.removeprefix("-")][1].validate_json(key)
    except (ValueError, binascii.Error, ValidationError):
        raise ValueError("after is not a cursor of this order") from None
    if made_for != order.encode():
        raise ValueError("after is not a cursor of this order")
    return values


def keys_of(order: str) -> list[Any]:
    """Give the columns that an order goes by, the last of which tells users apart."""
    return _ORDERS[order.removeprefix("-")][0]
