"""Events are kept for their days, and no clock that jumps takes them all."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.support.databases import sync_engine
from tests.support.insides import Announcement, Database, Event, EventName, LoginFailed, event_rules, event_work, now
from tests.support.processes import ROOT

DAY = timedelta(days=1)


def beside(url: str) -> AbstractContextManager[sa.Connection]:
    """A connection of the test's own, closed afterwards."""
    return sync_engine(url, poolclass=sa.NullPool).begin()


def write_days(url: str, ages: list[float], each: int = 1) -> None:
    rows = [{"at": now() - age * DAY, "name": "login_succeeded", "user_id": None} for age in ages for _ in range(each)]
    with beside(url) as connection:
        connection.execute(sa.insert(Event), rows)


def ages(url: str) -> list[int]:
    """The ages in days of what is there, each once."""
    with beside(url) as connection:
        return sorted({round((now() - at) / DAY) for at in connection.scalars(sa.select(col(Event.at)))})


def on(url: str, work: Callable[[Database], Awaitable[None]]) -> None:
    async def opened() -> None:
        database = Database(url)
        try:
            await work(database)
        finally:
            await database.close()

    asyncio.run(opened())


class TestExpiry:
    def test_deletes_the_oldest_in_batches_and_nothing_younger(self, url: str) -> None:
        write_days(url, [11.5], each=1200)
        write_days(url, [0, 5, 10.4])
        on(url, lambda database: event_work.delete_expired(database, 10))
        assert ages(url) == [0, 5, 10]  # a day of margin

    def test_jump_of_the_clock_costs_a_day_at_most(self, url: str) -> None:
        """A clock that is years ahead deletes the oldest day with each run, and there is one run an hour."""
        write_days(url, [0, 100, 200, 300.5, 300.1])

        async def ahead(database: Database) -> None:
            limit = await database.read(event_rules.expiry, 400, now() + 3000 * DAY)
            assert limit is not None
            assert not await database.write(event_rules.delete_before, limit)

        on(url, ahead)
        assert ages(url) == [0, 100, 200]

    def test_of_an_empty_table_does_nothing(self, url: str) -> None:
        on(url, lambda database: event_work.delete_expired(database, 1))


class TestFlood:
    """Failures are an attacker's to choose: they take bounded memory and bounded writes."""

    def flood(self, url: str, addresses: int, users: int) -> list[tuple[Any, ...]]:
        async def flooded(database: Database) -> None:
            writer = event_work.Writer(database)
            for number in range(20_000):
                address = f"2001:db8::{number % addresses:x}"
                writer.count(LoginFailed(number % users + 1 if users else None, address))
            assert len(writer._counts) <= event_work.MOST + 2
            await writer.flush()
            assert not writer._counts

        on(url, flooded)
        columns = sa.select(col(Event.user_id), col(Event.address), col(Event.details))
        with beside(url) as connection:
            return [tuple(row) for row in connection.execute(columns)]

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_of_addresses_takes_bounded_memory_and_loses_no_count(self, url: str) -> None:
        """S31."""
        rows = self.flood(url, addresses=20_000, users=0)
        assert len(rows) <= event_work.MOST + 2
        assert sum(row[2]["count"] for row in rows) == 20_000

    def test_of_one_address_is_one_event_a_minute(self, url: str) -> None:
        rows = self.flood(url, addresses=1, users=0)
        assert [row[1] for row in rows] == ["2001:db8::"] * len(rows)
        assert len(rows) <= 2

    def test_what_cannot_be_written_is_written_later(self, url: str) -> None:
        async def away(database: Database) -> None:
            writer = event_work.Writer(database)
            writer.count(LoginFailed(None, "192.0.2.1"))
            writer.count(LoginFailed(None, "192.0.2.1"))
            rename = "ALTER TABLE {} RENAME TO {}"
            with beside(url) as connection:
                connection.execute(sa.text(rename.format("events", "away")))
            await writer.flush()
            with beside(url) as connection:
                connection.execute(sa.text(rename.format("away", "events")))
            await writer.flush()

        on(url, away)
        with beside(url) as connection:
            assert connection.scalars(sa.select(col(Event.details))).all() == [{"count": 2}]


class TestNames:
    def test_every_announcement_is_an_event_or_said_to_be_none(self) -> None:
        """A kind that nobody has thought of would be missing from the events without a sign."""
        # Housekeeping; what is refused while a lock stands; what a database did, which has no unit to be written in.
        none = {"sessions_expired", "login_throttled", "foreign_row_read"}
        kinds = {kind for kind in announcements() if kind.__module__.startswith("userapi.")}
        names = {kind.__new__(kind).name for kind in kinds if not kind.__name__.startswith("_")}
        assert names - none <= set(EventName)

    def test_document_has_every_name(self) -> None:
        rows = re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*) \| [^|`]*", (ROOT / "userapi" / "EVENTS.md").read_text())
        assert set(EventName) <= set(re.findall(r"\w+", " ".join(rows)))


def announcements(kind: type[Announcement] = Announcement) -> set[type[Announcement]]:
    direct = set(kind.__subclasses__())
    return direct.union(*map(announcements, direct))
