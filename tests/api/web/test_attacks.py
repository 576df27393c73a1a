"""What a stranger tried, and what came of it: each was once an internal error or worse."""

import socket

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE


def test_a_lone_surrogate_is_a_wrong_current_password(api: Api) -> None:
    """S12: JSON can say it, UTF-8 cannot."""
    alice = api.new_actor("alice")
    body = rb'{"password": "Zorro-Mask-77", "current_password": "\ud800"}'
    answer = alice.put("/users/me", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "current_password_incorrect")


def test_true_is_no_age(api: Api) -> None:
    """S12: a number in a string is one, as it comes out of an HTML form; a truth value is not."""
    body = {"username": "alice", "email": "alice@example.com", "password": "Zorro-Mask-77"}
    assert api.admin.post("/users", json=body | {"age": True}).status_code == 422
    assert api.admin.post("/users", json=body | {"age": "30"}).json()["age"] == 30


@ON_SQLITE
class TestHead:
    """S18: what comes before a body is bounded like the body."""

    def _is_cut(self, api: Api, start: bytes, more: bytes) -> bool:
        host, port = api.server.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            try:
                client.sendall(start)
                for _ in range(20):
                    client.sendall(more * 100_000)
                while client.recv(65536):
                    pass
            except ConnectionError:
                pass
            except TimeoutError:
                return False
        return True

    @pytest.mark.parametrize(
        ("start", "more"),
        [
            pytest.param(b"GET /", b"x" * 10, id="one huge path"),
            pytest.param(b"GET /health/live HTTP/1.1\r\nX: ", b"x" * 10, id="one huge header"),
            pytest.param(b"GET /health/live HTTP/1.1\r\n", b"X: a\r\n", id="very many headers"),
            pytest.param(
                b"POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n", id="very many trailers"
            ),
        ],
    )
    def test_more_is_cut_off(self, api: Api, start: bytes, more: bytes) -> None:
        assert self._is_cut(api, start, more)
        assert api.http.get("/health/live").status_code == 200

    def test_many_requests_on_one_connection_are_not(self, api: Api) -> None:
        for _ in range(200):
            assert api.http.get("/health/live", headers={"X-Padding": "x" * 2000}).status_code == 200
        alice = {"username": "alice", "email": "alice@example.com", "password": "Zorro-Mask-77", "x": "x" * 60_000}
        assert api.admin.post("/users", json=alice, headers={"X-Padding": "x" * 30_000}).status_code == 201
        assert api.http.get("/health/live", headers={"X-Padding": "x" * 60_000}).status_code == 200
