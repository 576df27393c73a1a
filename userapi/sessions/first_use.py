"""The first use of a refreshed session's tokens is noted, once a rotation and without making requests depend on it."""

import asyncio
import logging

from userapi.kit.database import Database
from userapi.sessions import generations

PATIENCE_SECONDS = 0.25  # that a request waits for its note; it goes on, and so does the writing

log = logging.getLogger(__name__)


class FirstUses:
    """Notes first uses beside the requests that make them. Should one fail, the next request tries again."""

    def __init__(self, database: Database) -> None:
        """Begin with nothing to write."""
        self._database = database
        self._writing: dict[tuple[int, int], asyncio.Task[None]] = {}

    async def note(self, session_id: int, generation: int) -> None:
        """Note that a token of a session's generation was used; return after `PATIENCE_SECONDS` at the latest."""
        use = session_id, generation
        if use in self._writing:
            return
        self._writing[use] = task = asyncio.create_task(self._write(session_id, generation))
        task.add_done_callback(lambda _: self._writing.pop(use))
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing.values())

    async def _write(self, session_id: int, generation: int) -> None:
        try:
            await self._database.write(generations.note_use, session_id, generation)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has done nothing wrong
            log.warning("the first use of a session's token is not noted yet: %s", type(error).__name__)
