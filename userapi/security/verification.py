"""Whether a password has a hash, told in a time that says nothing of the hash: that of the dearest one known."""

import time
from statistics import median

from userapi.security import bcrypt_hash, foreign_hashes
from userapi.security.foreign_hashes import ForeignHash

MIN_COST, MAX_COST = 4, 31  # of bcrypt
SAMPLE = 2  # how many steps of cost below the dearest bcrypt is measured: in a quarter of the time there is
SAMPLES = 9  # of each kind of foreign hash; the middle one counts, since others were held up by other work


class Verifier:
    """Verifies passwords, in any thread. Work is counted in rounds of bcrypt, 2**cost of them at a cost.

    What a foreign hash is worth is measured, beside bcrypt, when the first of its kind refuse passwords.
    """

    def __init__(self, cost: int) -> None:
        """Begin with hashes of bcrypt at this cost."""
        self._cost = cost
        self._samples: dict[str, list[float]] = {}  # the work of a check, by kind of foreign hash

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
        cost = bcrypt_hash.cost_of(hashed_password or "")
        done = 0.0
        if foreign is not None and foreign.affordable:
            begun = time.perf_counter()
            if foreign.check(secret):
                return True
            done = self._learn(foreign, time.perf_counter() - begun)
        elif cost is not None and bcrypt_hash.hashable(secret):
            self.expect(cost)
            if bcrypt_hash.check(secret, hashed_password or ""):
                return True
            done = 2.0**cost
        known = list(self._samples.values())  # at once: other threads add to it
        _burn(max([2.0**self._cost, *map(median, known)]) - done)
        return False

    def _learn(self, foreign: ForeignHash, seconds: float) -> float:
        """Return how much work a check was that took so long; while little is known, measure it."""
        samples = self._samples.get(foreign.kind, [])
        if len(samples) >= SAMPLES:
            return median(samples)
        cost = max(MIN_COST, self._cost - SAMPLE)
        begun = time.perf_counter()
        _burn(2.0**cost)
        samples = [*samples, seconds / (time.perf_counter() - begun) * 2.0**cost]
        self._samples[foreign.kind] = samples
        return median(samples) + 2.0**cost


def _burn(work: float) -> None:
    """Work as long as so many rounds of bcrypt take."""
    for cost in range(MAX_COST, MIN_COST - 1, -1):
        if work >= 2.0**cost:
            bcrypt_hash.check(b"", f"$2b${cost:02}${'.' * 53}")  # which no password has
            work -= 2.0**cost
