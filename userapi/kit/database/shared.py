"""Equal reads of a server that wait for a connection at the same moment run as one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import Connection

R = TypeVar("R")

Unit = Callable[[Connection], R]


class SharedReads:
    """The reads that wait to begin, by what they ask.

    A read is joined only until it begins, so whoever joins it sees all that was committed before it came. It goes on
    when one of them leaves.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, asked: Hashable, read: Callable[[Unit[R]], Awaitable[R]], unit: Unit[R]) -> R:
        """Return what `unit` finds, run by `read`, or what the equal one that waits already will find."""
        running = self._waiting.get(asked)
        if running is None:
            running = self._waiting[asked] = asyncio.create_task(self._run(asked, read, unit))
        found: R = await asyncio.shield(running)
        return found

    async def _run(self, asked: Hashable, read: Callable[[Unit[R]], Awaitable[R]], unit: Unit[R]) -> R:
        own = asyncio.current_task()

        def close() -> None:
            if self._waiting.get(asked) is own:
                del self._waiting[asked]

        def begun(connection: Connection) -> R:
            close()
            return unit(connection)

        try:
            return await read(begun)
        finally:
            close()
