"""The login throttle: wrong passwords cost an account, and an address, time."""

import asyncio
import hashlib
import ipaddress
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from limits.aio.storage import MemoryStorage, Storage
from limits.errors import StorageError
from limits.storage import storage_from_string

from userapi.errors import ApiError, ErrorCode
from userapi.models import canonical

log = logging.getLogger(__name__)

R = TypeVar("R")

FREE_FAILURES = 5  # of an account; the fifth locks it
FIRST_LOCK, LONGEST_LOCK = 30, 15 * 60  # seconds; doubled by each further failure
MEMORY = 6 * 3600  # seconds that an account's failures are counted after the first of them
ADDRESS_FAILURES, ADDRESS_WINDOW = 100, 15 * 60  # failures of an address in so many seconds
STORAGE_SECONDS = 1  # the shared storage answers within, or is not asked again for
SHARED_CONNECTIONS = 50  # redis-py has 100, and fails rather than waits beyond
STORAGE_PAUSE = 5  # seconds


class Throttle:
    """Counts failures per account, known or not, and per client address; at most 100 tries as NIST SP 800-63B-4 asks.

    While the shared storage does not answer, each process counts for itself.
    """

    def __init__(self, storage_url: str | None = None) -> None:
        """Count in the Redis at `storage_url`, which several processes share; without one in this process alone."""
        self._local: Storage = MemoryStorage()
        self._shared: Storage | None = None
        if storage_url is not None:
            options = {"socket_timeout": STORAGE_SECONDS, "socket_connect_timeout": STORAGE_SECONDS}
            shared = storage_from_string(
                f"async+{storage_url}", implementation="redispy", wrap_exceptions=True, key_prefix="userapi", **options
            )
            assert isinstance(shared, Storage)
            self._shared = shared
        self._shared_again_at = 0.0
        self._shared_slots = asyncio.Semaphore(SHARED_CONNECTIONS)

    @property
    def alone(self) -> bool:
        """Whether this process counts for itself."""
        return time.monotonic() < self._shared_again_at or self._shared is None

    async def check(self, login: str, address: str | None) -> None:
        """Let an attempt pass, or not.

        Raises:
            ApiError: too_many_attempts, with the seconds to wait.
        """
        locked_until = await self._do(lambda storage: _until(storage, _lock_key(login), 1))
        if address is not None:
            key = _address_key(address)
            address_until = await self._do(lambda storage: _until(storage, key, ADDRESS_FAILURES))
            locked_until = max(locked_until, address_until)
        if locked_until > time.time():
            raise ApiError(ErrorCode.TOO_MANY_ATTEMPTS, retry_after=math.ceil(locked_until - time.time()))

    async def fail(self, login: str, address: str | None) -> None:
        """Count a wrong password."""

        async def lock(storage: Storage) -> None:
            failures = await storage.incr(_failures_key(login), MEMORY)
            if failures >= FREE_FAILURES:
                await storage.incr(_lock_key(login), min(FIRST_LOCK * 2 ** (failures - FREE_FAILURES), LONGEST_LOCK))
            if address is not None:
                await storage.incr(_address_key(address), ADDRESS_WINDOW)

        await self._do(lock)

    async def forgive(self, login: str) -> None:
        """Forget an account's failures, after a success or by the operator's word."""

        async def clear(storage: Storage) -> None:
            await storage.clear(_failures_key(login))
            await storage.clear(_lock_key(login))

        await self._do(clear)

    async def _do(self, work: Callable[[Storage], Awaitable[R]]) -> R:
        if self._shared is not None and not self.alone:
            try:
                async with self._shared_slots:
                    return await work(self._shared)
            except (StorageError, OSError) as error:
                self._shared_again_at = time.monotonic() + STORAGE_PAUSE
                cause = getattr(error, "storage_error", error)
                log.warning("throttle storage unavailable, counting in this process: %s", cause)
        return await work(self._local)


async def _until(storage: Storage, key: str, limit: int) -> float:
    """Return when a counter that has reached its limit starts anew, in seconds since 1970; 0 if it has not."""
    return await storage.get_expiry(key) if await storage.get(key) >= limit else 0


def _failures_key(login: str) -> str:
    return f"failures:{_digest(login)}"


def _lock_key(login: str) -> str:
    return f"lock:{_digest(login)}"


def _digest(login: str) -> str:
    """Return a name's key: of one length, and no name in a storage that others may read."""
    return hashlib.blake2b(canonical(login).encode(errors="replace"), digest_size=16).hexdigest()


def _address_key(address: str) -> str:
    """Return the key of an address; IPv6 clients come by the /64, for a household has that many addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address:{address}"
    prefix = 64 if parsed.version == 6 else 32
    return f"address:{ipaddress.ip_network((parsed, prefix), strict=False)}"
