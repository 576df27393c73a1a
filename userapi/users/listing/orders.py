"""The orders that users are listed in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, TypeAdapter
from sqlalchemy import Label
from sqlalchemy.sql.elements import KeyedColumnElement

from userapi.models import MAX_EMAIL, User, UserId, column

Sort = Literal["id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]

_Name = Annotated[str, Field(max_length=MAX_EMAIL, pattern=r"^[^\x00]*$")]
_Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]


@dataclass(frozen=True, eq=False)
class Order:
    """What users are sorted by: keys that all together tell every two users apart."""

    name: str
    keys: tuple[KeyedColumnElement[Any], ...]
    key_values: TypeAdapter[Any]  # the tuple of the keys' values in a cursor
    descending: bool = False

    @property
    def labelled_keys(self) -> list[Label[Any]]:
        """Return the keys under the names `key_0`, `key_1` ..., for a statement to select."""
        return [key.label(key_name(place)) for place, key in enumerate(self.keys)]


def key_name(place: int) -> str:
    """Return the name that every statement gives to the key in this place."""
    return f"key_{place}"


_ASCENDING = [
    Order("id", (column(User.id),), TypeAdapter(tuple[UserId])),
    Order("username", (column(User.username_key),), TypeAdapter(tuple[_Name])),
    Order("email", (column(User.email_key),), TypeAdapter(tuple[_Name])),
    Order("created_at", (column(User.created_at), column(User.id)), TypeAdapter(tuple[_Instant, UserId])),
]
_DESCENDING = [Order(f"-{order.name}", order.keys, order.key_values, descending=True) for order in _ASCENDING]

SORTED: dict[str, Order] = {order.name: order for order in (*_ASCENDING, *_DESCENDING)}
BY_ID = SORTED["id"]
BY_MATCHING_NAME = Order("matched", (), TypeAdapter(tuple[_Name]))  # the key is the username or the e-mail address
