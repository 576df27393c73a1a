"""Whether a password has a hash, told in a time that says nothing of the hash: that of the dearest one known."""

import math
import time

import bcrypt

from userapi.models import MAX_PASSWORD_BYTES
from userapi.security import foreign_hashes
from userapi.security.foreign_hashes import ForeignHash, bcrypt_cost

MIN_COST, MAX_COST = 4, 31  # of bcrypt
SAMPLE = 3  # how many steps of cost below the dearest bcrypt is measured: in an eighth of the time there is


class Verifier:
    """Verifies passwords, in any thread. Work is counted in rounds of bcrypt, 2**cost of them at a cost.

    What a foreign hash is worth is found out when one of its kind first refuses a password: the quickest such check,
    against the quickest round of bcrypt, since others were held up by other work.
    """

    def __init__(self, cost: int) -> None:
        """Begin with hashes of bcrypt at this cost."""
        self._cost = cost
        self._seconds: dict[str, float] = {}  # of a check, by kind of foreign hash
        self._round_seconds = math.inf

    def expect(self, cost: int) -> None:
        """Take note that there are hashes of bcrypt at this cost."""
        self._cost = max(self._cost, cost)

    def matches(self, password: str, hashed_password: str | None) -> bool:
        """Tell whether the password has this hash; without a hash that can be verified it has not."""
        try:
            secret = password.encode()
        except UnicodeEncodeError:  # a lone surrogate, which JSON can say
            return False
        foreign = foreign_hashes.read(hashed_password or "")
        cost = bcrypt_cost(hashed_password or "")
        done = 0.0
        if foreign is not None and foreign.affordable:
            begun = time.perf_counter()
            if foreign.check(secret):
                return True
            done = self._learn(foreign, time.perf_counter() - begun)
        elif cost is not None and hashable(secret):
            self.expect(cost)
            if _check(secret, hashed_password or ""):
                return True
            done = 2.0**cost
        _burn(max(2.0**self._cost, *self._work()) - done)
        return False

    def _work(self) -> list[float]:
        return [0.0, *(seconds / self._round_seconds for seconds in self._seconds.values())]

    def _learn(self, foreign: ForeignHash, seconds: float) -> float:
        """Take note of how long a check took, and return how much work was done, this included."""
        sample = max(MIN_COST, self._cost - SAMPLE)
        begun = time.perf_counter()
        _burn(2.0**sample)
        self._round_seconds = min(self._round_seconds, (time.perf_counter() - begun) / 2.0**sample)
        self._seconds[foreign.kind] = min(seconds, self._seconds.get(foreign.kind, seconds))
        return seconds / self._round_seconds + 2.0**sample


def hashable(secret: bytes) -> bool:
    """Tell whether bcrypt makes a hash of this: of more bytes it raises, or cuts them off."""
    return len(secret) <= MAX_PASSWORD_BYTES and b"\0" not in secret


def _burn(work: float) -> None:
    """Work as long as so many rounds of bcrypt take."""
    for cost in range(MAX_COST, MIN_COST - 1, -1):
        if work >= 2.0**cost:
            _check(b"", f"$2b${cost:02}${'.' * 53}")  # which no password has
            work -= 2.0**cost


def _check(secret: bytes, hashed_password: str) -> bool:
    try:
        return bcrypt.checkpw(secret, hashed_password.encode())
    except ValueError:  # not a bcrypt hash
        return False
