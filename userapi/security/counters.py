"""Counters that start anew after a time, in this process or in a Redis that several share."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from limits.aio.storage import Storage
from limits.storage import storage_from_string

MOST = 10_000  # counters of a kind in this process; beyond, the oldest is forgotten
STORAGE_SECONDS = 1  # the shared storage answers within, or is not asked again for a while
SHARED_CONNECTIONS = 50  # redis-py has 100, and fails rather than waits beyond


class Counters(Protocol):
    """What the throttle counts with. A key is its kind, a slash and what is counted."""

    async def add(self, key: str, seconds: float) -> int:
        """Count one more and return how many; the first begins a time of so many seconds."""

    async def left(self, key: str, limit: int) -> float:
        """Return in how many seconds a counter that has reached its limit starts anew; 0 if it has not."""

    async def clear(self, key: str) -> None:
        """Forget a counter."""


class _Counter(NamedTuple):
    many: int
    begun: float
    ends: float


class LocalCounters:
    """Counters of this process. Strangers' names cannot crowd out those of users: each kind has a bound of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a clock that gives seconds and never goes back."""
        self._clock = clock
        self._kinds: defaultdict[str, OrderedDict[str, _Counter]] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        """Return how many counters are remembered."""
        return sum(map(len, self._kinds.values()))

    async def add(self, key: str, seconds: float) -> int:
        """Count one more and return how many; the first begins a time of so many seconds."""
        now, found = self._clock(), self._find(key)
        kind = self._kinds[key.partition("/")[0]]
        if found is None and len(kind) >= MOST:
            kind.popitem(last=False)
        kind[key] = _Counter(1, now, now + seconds) if found is None else found._replace(many=found.many + 1)
        kind.move_to_end(key)
        return kind[key].many

    async def left(self, key: str, limit: int) -> float:
        """Return in how many seconds a counter that has reached its limit starts anew; 0 if it has not."""
        found = self._find(key)
        return found.ends - self._clock() if found is not None and found.many >= limit else 0

    async def clear(self, key: str) -> None:
        """Forget a counter."""
        self._kinds[key.partition("/")[0]].pop(key, None)

    def age(self, key: str) -> float:
        """Return how many seconds ago a counter was begun; 0 if there is none."""
        found = self._find(key)
        return 0 if found is None else self._clock() - found.begun

    def _find(self, key: str) -> _Counter | None:
        kind = self._kinds[key.partition("/")[0]]
        found = kind.get(key)
        if found is not None and found.ends <= self._clock():
            del kind[key]
            return None
        return found


class SharedCounters:
    """Counters in Redis, one server, a cluster, or what Sentinels watch."""

    def __init__(self, url: str) -> None:
        """Use the Redis at a URL, as `limits` takes it; nothing connects yet."""
        options: dict[str, Any] = {"socket_timeout": STORAGE_SECONDS, "socket_connect_timeout": STORAGE_SECONDS}
        if url.startswith("redis+sentinel:"):
            options |= {"use_replicas": False, "sentinel_kwargs": dict(options)}  # a replica is late: a lock has gaps
        storage = storage_from_string(
            f"async+{url}", implementation="redispy", wrap_exceptions=True, key_prefix="userapi", **options
        )
        assert isinstance(storage, Storage)
        self.storage = storage
        self.slots = asyncio.Semaphore(SHARED_CONNECTIONS)

    async def add(self, key: str, seconds: float) -> int:
        """Count one more and return how many; the first begins a time of so many seconds."""
        return await self.storage.incr(key, int(seconds))

    async def left(self, key: str, limit: int) -> float:
        """Return in how many seconds a counter that has reached its limit starts anew; 0 if it has not."""
        if await self.storage.get(key) < limit:
            return 0
        return max(await self.storage.get_expiry(key) - time.time(), 0)

    async def clear(self, key: str) -> None:
        """Forget a counter."""
        await self.storage.clear(key)

    async def close(self) -> None:
        """Close all connections, those to Sentinels as well."""
        storage: Any = self.storage
        sentinel = getattr(storage.bridge, "sentinel", None)
        for client in [storage.bridge.storage, *(sentinel.sentinels if sentinel else [])]:
            await client.aclose()
