"""Beside the requests of each worker: it measures, if the settings ask for it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from userapi.errors import DatabaseUnavailable
from userapi.kit.announcements import Announcement
from userapi.metrics import traces

SAMPLE_SECONDS = 1
COUNT_SECONDS = 10  # between two looks into the database

_requests = logging.getLogger("userapi.requests")


@asynccontextmanager
async def work(services: Any) -> AsyncIterator[None]:
    """Measure until the end, given the services."""
    async with traces.of_statements(services), _measured(services):
        yield


@asynccontextmanager
async def _measured(services: Any) -> AsyncIterator[None]:
    if services.settings.metrics_port is None:
        yield
        return
    from userapi.metrics import instruments  # noqa: PLC0415 - it costs 30 ms and 3 MB, for who measures

    handler, sampler = instruments.FromLog(), instruments.Sampler(services)
    _requests.addHandler(handler)
    services.announcements.after_commit(Announcement, instruments.count)
    tasks = [asyncio.create_task(_sample(sampler)), asyncio.create_task(_count(services, instruments.counted))]
    try:
        yield
    finally:
        _requests.removeHandler(handler)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sample(sampler: Any) -> None:
    while True:
        sampler.sample()
        await asyncio.sleep(SAMPLE_SECONDS)


async def _count(services: Any, gauge: Any) -> None:
    while True:
        for name, rule in services.counts.items():
            with suppress(DatabaseUnavailable):  # which is in the log
                gauge.labels(name).set(await services.database.read_long(rule))
        await asyncio.sleep(COUNT_SECONDS)
