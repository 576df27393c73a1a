"""Clients that send nothing for a while, or too slowly."""

import pytest

from tests.support.client import Api
from tests.support.connections import GET, HALF, connect
from tests.support.databases import ON_SQLITE


@pytest.mark.slow
@ON_SQLITE
class TestSlowClient:
    """S32."""

    def test_a_head_must_be_complete_in_10_seconds(self, api: Api) -> None:
        """S32: bytes that trickle in do not prolong it."""
        with connect(api.server, timeout=0.5) as client:
            client.sendall(HALF)
            received = b""
            for _ in range(60):
                try:
                    client.sendall(b"X: y\r\n")
                    received += client.recv(65536)
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
                if received:
                    break
        assert received.startswith(b"HTTP/1.1 408")

    def test_one_that_waits_between_requests_is_kept(self, api: Api) -> None:
        with connect(api.server) as client:
            for seconds in (12, 1):
                client.settimeout(30)
                client.sendall(GET)
                received = b""
                while b'"ok"}' not in received:
                    received += client.recv(65536)
                client.settimeout(seconds)
                with pytest.raises(TimeoutError):
                    client.recv(1)
