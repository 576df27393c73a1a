"""Where a request comes from."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple


async def _never() -> bool:
    return False


class Client(NamedTuple):
    """The header `User-Agent` of a request, and the address it came from, as text; whether it has gone by now."""

    user_agent: str | None
    ip: str | None
    gone: Callable[[], Awaitable[bool]] = _never
