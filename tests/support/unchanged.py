"""Tests that change nothing, and therefore share what they ask about."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.servers import Shared


class Unchanged:
    """Its tests have one client, with one login of the admin, on one state of the database."""

    @pytest.fixture(scope="class")
    @classmethod
    def api(cls, shared: Shared, kind: str) -> Iterator[Api]:
        with client_of(shared.service(kind)) as api:
            yield api
