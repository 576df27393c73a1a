"""The orders that users are listed in, and cursors: places in an order, as text that clients hand back."""

import base64
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticCustomError
from sqlalchemy.sql.elements import KeyedColumnElement

from userapi.models import MAX_EMAIL, Instant, User, UserId, column

Sort = Literal["id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]

_Name = Annotated[str, Field(max_length=MAX_EMAIL, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, eq=False)
class Order:
    """What users are sorted by: keys that all together tell every two users apart."""

    name: str
    keys: tuple[KeyedColumnElement[Any], ...]
    key_values: TypeAdapter[Any]  # the tuple of the keys' values in a cursor
    descending: bool = False

    @property
    def key_names(self) -> list[str]:
        """Return the names that the keys have in every statement."""
        return [f"key_{place}" for place in range(len(self.keys))]


_ASCENDING = [
    Order("id", (column(User.id),), TypeAdapter(tuple[UserId])),
    Order("username", (column(User.username_key),), TypeAdapter(tuple[_Name])),
    Order("email", (column(User.email_key),), TypeAdapter(tuple[_Name])),
    Order("created_at", (column(User.created_at), column(User.id)), TypeAdapter(tuple[Instant, UserId])),
]
_DESCENDING = [Order(f"-{order.name}", order.keys, order.key_values, descending=True) for order in _ASCENDING]

SORTED: dict[str, Order] = {order.name: order for order in (*_ASCENDING, *_DESCENDING)}
BY_ID = SORTED["id"]
BY_MATCHING_NAME = Order("matched", (column(User.username_key),), TypeAdapter(tuple[_Name]))  # or the address
BACKWARDS = {order: replace(order, descending=not order.descending) for order in (*SORTED.values(), BY_MATCHING_NAME)}


def cursor_at(order: Order, keys: tuple[Any, ...]) -> str:
    """Return the cursor of the users that follow, or precede, the one with these values of the order's keys."""
    plain = order.name.encode() + b":" + order.key_values.dump_json(keys)
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def keys_at(cursor: str, order: Order) -> tuple[Any, ...]:
    """Return the values of the order's keys that a cursor stands for.

    Raises:
        PydanticCustomError: The cursor was made for another order, or not by `cursor_at`.
    """
    try:
        name, _, values = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).partition(b":")
        keys: tuple[Any, ...] = order.key_values.validate_json(values)
    except ValueError:
        name = b""
    if name != order.name.encode():
        raise PydanticCustomError("cursor_invalid", "after or before is not a cursor of this order")
    return keys
