"""A service whose log tests read."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.servers import Shared


@pytest.fixture(params=["text", "json"])
def logged(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Api]:
    """A client of a service that logs in one of the formats; the database has no part in it."""
    settings = {"LOG_FORMAT": request.param, "THROTTLE_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with client_of(shared.service("sqlite", **settings)) as api:
        yield api
