"""Beside the requests: what happens outside of units is written down, what is old is deleted."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlmodel import Session

from userapi.events import rules
from userapi.events.rules import Counted
from userapi.kit.announcements import Announcement
from userapi.kit.database import Database
from userapi.kit.web import addresses
from userapi.models import now
from userapi.proof.guards import LoginLocked
from userapi.proof.password_check import LoginFailed

FLUSH_SECONDS = 2
ERASE_SECONDS = 60
DELETE_SECONDS = 3600
PAUSE_SECONDS = 0.1  # between two units of housekeeping, for others to write
MOST = 1000  # counted apart between two flushes; beyond, whom and where from is not told
BATCH = 100  # rows of a unit

log = logging.getLogger(__name__)


class Writer:
    """Writes in batches what was not written where it happened, so that nobody's login waits for it."""

    def __init__(self, database: Database) -> None:
        """Begin with nothing to write."""
        self._database = database
        self._counts: Counter[Counted] = Counter()
        self._rows: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._turn = asyncio.Lock()

    def count(self, announcement: LoginFailed | LoginLocked) -> None:
        """Count a failure, by account, address and minute."""
        minute = now().replace(second=0, microsecond=0)
        self._add(Counted(minute, announcement.name, announcement.user_id, addresses.plain(announcement.ip)), 1)

    def make_up(self, announcement: Announcement) -> None:
        """Write an event later, if it could not be written in its unit."""
        if rules.is_postponed():
            self._rows.append(rules.row_of(announcement))

    async def flush(self) -> None:
        """Write all that is there, one flush at a time; what cannot be written now is kept for the next time."""
        async with self._turn:
            counts, rows = list(self._counts.items()), list(self._rows)
            self._counts.clear()
            self._rows.clear()
            for batch in (counts[begin : begin + BATCH] for begin in range(0, len(counts), BATCH)):
                if not await self._done(rules.add_counts, batch):
                    for counted, many in batch:
                        self._add(counted, many)
            self._rows.extend([row for row in rows if not await self._done(rules.write_late, row)])

    def _add(self, counted: Counted, many: int) -> None:
        if len(self._counts) >= MOST and counted not in self._counts:
            counted = counted._replace(user_id=None, address=None)
        self._counts[counted] += many

    async def _done(self, rule: Callable[..., None], *args: Any) -> bool:
        try:
            await self._database.write(rule, *args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next flush tries again
            log.warning("events are not written yet: %s", type(error).__name__)
            return False
        return True


@asynccontextmanager
async def work(services: Any) -> AsyncIterator[None]:
    """Write and delete until the end, given the services; what is left is written then."""
    database, writer = services.database, Writer(services.database)
    services.announcements.after_commit(LoginFailed, writer.count)
    services.announcements.after_commit(LoginLocked, writer.count)
    for kind in rules.AT_LOGIN:
        services.announcements.after_commit(kind, writer.make_up)
    repeated: list[tuple[float, Callable[[], Awaitable[None]]]] = [
        (FLUSH_SECONDS, lambda: asyncio.shield(writer.flush())),
        (ERASE_SECONDS, lambda: _to_the_end(database, rules.erase_rest)),
        (DELETE_SECONDS, lambda: delete_expired(database, services.settings.events_days)),
    ]
    tasks = [asyncio.create_task(_repeat(seconds, what)) for seconds, what in repeated]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await writer.flush()


async def delete_expired(database: Database, days: int) -> None:
    """Delete events that are older than so many days, a day's at most."""
    if limit := await database.read(rules.expiry, days, now()):
        await _to_the_end(database, lambda db: rules.delete_before(db, limit))


async def _to_the_end(database: Database, rule: Callable[[Session], bool]) -> None:
    while await database.write(rule):  # noqa: ASYNC110 - with a pause for others, there is nothing to wait for
        await asyncio.sleep(PAUSE_SECONDS)


async def _repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            log.warning("events: %s; again in %g s", type(error).__name__, seconds)
