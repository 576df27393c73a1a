"""Odd requests as raw bytes; `python -m tests.attack --fuzz` sends many more."""

import pytest

from tests.attack.arena import Arena
from tests.attack.fuzz import fuzz

REQUESTS = 1_500


@pytest.mark.slow
def test_no_request_whatever_its_bytes_breaks_the_service() -> None:
    """S12, S11: nothing answers 5xx, the process lives, no secret comes back or is logged, and memory is bounded."""
    with Arena().target(REGISTRATION_ENABLED="true", THROTTLE_ENABLED="false") as target:
        found = fuzz(target, seed=2, count=REQUESTS)
    assert sum(found.statuses.values()) == REQUESTS
    assert {200, 400, 401, 422} <= found.statuses.keys()
    assert found.wrong == []
