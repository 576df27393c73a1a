"""Where a request comes from."""

from typing import NamedTuple


class Client(NamedTuple):
    """The header `User-Agent` of a request, and the address it came from, as text."""

    user_agent: str | None
    ip: str | None
