"""Services behind a proxy."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.servers import Shared


@pytest.fixture
def behind_proxy(shared: Shared) -> Iterator[Api]:
    """A client of a service that believes a proxy on this host."""
    with client_of(shared.service("sqlite", FORWARDED_ALLOW_IPS="127.0.0.1,192.0.2.0/24")) as api:
        yield api
