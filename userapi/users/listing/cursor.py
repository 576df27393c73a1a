"""Cursors: a place in an order, as text that clients hand back."""

import base64
import binascii
from typing import Any

from pydantic import ValidationError

from userapi.users.listing.orders import Order


def cursor_at(order: Order, keys: tuple[Any, ...]) -> str:
    """Return the cursor of the users that follow the one with these values of the order's keys."""
    plain = order.name.encode() + b":" + order.key_values.dump_json(keys)
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def keys_at(cursor: str, order: Order) -> tuple[Any, ...]:
    """Return the values of the order's keys that a cursor stands for.

    Raise ValueError if the cursor was made for another order, or not by `cursor_at`.
    """
    try:
        name, _, values = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).partition(b":")
        keys: tuple[Any, ...] = order.key_values.validate_json(values)
    except (ValueError, binascii.Error, ValidationError):
        raise ValueError("after is not a cursor of this order") from None
    if name != order.name.encode():
        raise ValueError("after is not a cursor of this order")
    return keys
