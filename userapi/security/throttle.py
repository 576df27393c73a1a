"""The login throttle: wrong passwords cost an account, and an address, time."""

import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from limits.errors import StorageError

from userapi.errors import ApiError, ErrorCode
from userapi.kit.database import Database
from userapi.kit.web import addresses
from userapi.models import canonical
from userapi.security.counters import Counters, LocalCounters, SharedCounters
from userapi.security.database_counters import DatabaseCounters

log = logging.getLogger(__name__)

R = TypeVar("R")

FREE_FAILURES = 5  # in a row; the fifth locks
FIRST_LOCK, LONG_LOCK = 30, 15 * 60  # seconds; doubled by each further failure, up to the long one
MEMORY = 90 * 24 * 3600  # seconds that failures are counted after the first of them
ADDRESS_FAILURES, ADDRESS_WINDOW = 100, 15 * 60  # failures of an address in so many seconds
REGISTRATION_WINDOW = 3600
STORAGE_PAUSE = 5  # seconds
IN_DATABASE = "database:"  # the URL of a storage that is the service's own database


class Budget(NamedTuple):
    """Failures in a row that are counted together; from `patience` on, the lock doubles without end.

    That keeps the failures of an account under the 100 of NIST SP 800-63B-4 section 3.2.2: in 90 days at most 38 of
    strangers, 28 of devices that it knows, and 33 of current passwords, which the database counts.
    """

    key: str
    patience: int

    def lock_seconds(self, failures: int) -> int:
        """Return how long so many failures in a row lock."""
        if failures < FREE_FAILURES:
            return 0
        return doubling_lock(failures, self.patience, FIRST_LOCK << min(failures - FREE_FAILURES, 5))


def doubling_lock(failures: int, patience: int, gentle: int) -> int:
    """Return the seconds of a lock: the gentle ones up to `patience` failures in a row, then doubled by each."""
    if failures <= patience:
        return min(gentle, LONG_LOCK)
    return min(LONG_LOCK << min(failures - patience, 20), MEMORY)


def strangers(user_id: int | None, login: str) -> Budget:
    """Return the budget of whoever tries an account; it goes by the user's id, or by the name of nobody."""
    return Budget(_account(user_id, login), 25)


def known_devices(user_id: int) -> Budget:
    """Return the budget of the devices that have logged in to an account before."""
    return Budget(f"known/{user_id}", 15)


def address_key(address: str) -> str:
    """Return the key under which an address is counted."""
    return f"addresses/{addresses.network(address)}"


class Throttle:
    """Counts failures per account, known or not, and per client address.

    While the shared storage does not answer, each process counts for itself.
    """

    def __init__(
        self,
        storage_url: str | None = None,
        proxies: str = "",
        clock: Callable[[], float] = time.monotonic,
        database: Database | None = None,
    ) -> None:
        """Count in the Redis at `storage_url`, which several processes share; without one in this process alone.

        The URL `database:` is the `database`. The `proxies` are never locked. `clock` gives seconds that never go back.
        """
        self._clock = clock
        self._local = LocalCounters(clock)
        self._shared: SharedCounters | DatabaseCounters | None = None
        if storage_url == IN_DATABASE and database is not None:
            self._shared = DatabaseCounters(database)
        elif storage_url is not None:
            self._shared = SharedCounters(storage_url)
        self._shared_again_at = 0.0
        self._exempt = addresses.Exempt(proxies)

    @property
    def alone(self) -> bool:
        """Whether this process counts for itself."""
        return self._shared is None or self._clock() < self._shared_again_at

    async def wait(self, budget: Budget | None, address: str | None = None) -> int:
        """Return how many seconds an attempt must wait; 0 if it may go on. Without a budget only the address counts."""
        seconds = await self._do(lambda counters: counters.left(_lock(budget.key), 1)) if budget else 0
        if address is not None and address not in self._exempt:
            key = address_key(address)
            seconds = max(seconds, await self._do(lambda counters: counters.left(key, ADDRESS_FAILURES)))
        return math.ceil(seconds)

    async def fail(self, budget: Budget | None, address: str | None) -> int:
        """Count a wrong password, or a wrong code, which has no budget.

        Returns for how many seconds that locks the account, 0 if it does not.
        """

        async def count(counters: Counters) -> int:
            seconds = budget.lock_seconds(await counters.add(budget.key, MEMORY)) if budget else 0
            if budget and seconds:
                await counters.add(_lock(budget.key), seconds)
            if address is not None and address not in self._exempt:
                await counters.add(address_key(address), ADDRESS_WINDOW)
            return seconds

        return await self._do(count)

    async def forgive(self, *keys: str) -> None:
        """Forget what was counted under these keys, after a success or by the operator's word."""

        async def clear(counters: Counters) -> None:
            for key in keys:
                await counters.clear(key)
                await counters.clear(_lock(key))

        await self._do(clear)

    async def lift(self, key: str, seconds_ago: float) -> None:
        """Forget what this process itself began to count before the operator's word, so many seconds ago."""
        if self.alone and self._local.age(key) > seconds_ago:
            await self.forgive(key)

    async def register(self, address: str | None, most: int) -> None:
        """Count a registration.

        Raises:
            ApiError: too_many_registrations, for the one beyond `most` an hour of an address.
        """
        if address is None or address in self._exempt:
            return
        key = f"registrations/{addresses.network(address)}"
        if seconds := await self._do(lambda counters: counters.left(key, most)):
            raise ApiError(ErrorCode.TOO_MANY_REGISTRATIONS, retry_after=math.ceil(seconds))
        await self._do(lambda counters: counters.add(key, REGISTRATION_WINDOW))

    async def close(self) -> None:
        """Close all connections to the shared storage."""
        if isinstance(self._shared, SharedCounters):
            await self._shared.close()

    async def _do(self, work: Callable[[Counters], Awaitable[R]]) -> R:
        if self._shared is not None and not self.alone:
            try:
                async with self._shared.slots:
                    return await work(self._shared)
            except (StorageError, OSError) as error:
                self._shared_again_at = self._clock() + STORAGE_PAUSE
                cause = getattr(error, "storage_error", error)
                log.warning("throttle storage unavailable, counting in this process: %s", cause)
        return await work(self._local)


def _account(user_id: int | None, login: str) -> str:
    """Return the key of an account; of a name one of fixed length, and no name in a storage that others may read."""
    if user_id is not None:
        return f"users/{user_id}"
    return f"names/{hashlib.blake2b(canonical(login).encode(errors='replace'), digest_size=16).hexdigest()}"


def _lock(key: str) -> str:
    return f"lock-{key}"
