"""The log: a line a request, and its id."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.client import Actor, Api
from tests.support.log_lines import Request
from tests.support.processes import wait_until


class TestRequestLine:
    @pytest.mark.parametrize(
        ("method", "path", "template", "status"),
        [
            ("GET", "/users/me", "/users/me", 200),
            ("GET", "/users/{id}", "/users/{user_id}", 200),
            ("GET", "/users?q=secret-name", "/users", 200),
            ("PATCH", "/users/{id}?x=secret-name", "/users/{user_id}", 422),
            ("GET", "/users/2147483647", "/users/{user_id}", 404),
            ("DELETE", "/users/{id}/sessions/2147483647", "/users/{user_id}/sessions/{session_id}", 404),
            ("GET", "/health/live", "/health/live", 200),
            ("HEAD", "/users/{id}", "/users/{user_id}", 200),
            ("GET", "/no/secret-name", "-", 404),
            ("PUT", "/token", None, 405),
        ],
    )
    def test_tells_method_path_template_status_and_duration(
        self, logged: Api, method: str, path: str, template: str | None, status: int
    ) -> None:
        done = Request(logged, method, path.format(id=logged.admin.id), logged.admin)
        line = done.line
        assert done.answer.status_code == status
        assert (line["level"], line["logger"]) == ("INFO", "userapi.requests")
        assert (line["method"], str(line["status"])) == (method, str(status))
        assert template is None or line["path"] == template
        assert 0 < float(line["ms"]) < 10_000
        assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(seconds=60)
        assert line["time"].endswith("Z")
        assert "secret-name" not in "".join(done.raw)

    def test_tells_who_made_it(self, logged: Api) -> None:
        assert str(Request(logged, "GET", "/users/me", logged.admin).line["user_id"]) == str(logged.admin.id)
        assert Request(logged, "GET", "/users/me").line["user_id"] == "-"
        stranger = Actor(logged, {}, "x")
        assert Request(logged, "GET", "/users/me", stranger).line["user_id"] == "-"

    @pytest.mark.parametrize("content", [b"x" * 70_000, [b"x" * 70_000]], ids=["declared", "chunked"])
    def test_of_one_that_is_too_large(self, logged: Api, content: Any) -> None:
        """S18."""
        done = Request(logged, "POST", "/users", logged.admin, content=content)
        assert (done.answer.status_code, str(done.line["status"])) == (413, "413")


class TestRequestId:
    @pytest.mark.parametrize("given", ["a", "A-1.b_2:c", "0" * 64, "3fa85f64-5717-4562-b3fc-2c963f66afa6"])
    def test_given_one_is_taken_and_echoed(self, logged: Api, given: str) -> None:
        answer = logged.http.get("/health/live", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given

    @pytest.mark.parametrize(
        "given",
        [None, "", "0" * 65, "a b", "a;b", 'a"b', "<script>", "ünïcode".encode(), b"\xff", "a/b", "a=b c=d", "%0d%0a"],
    )
    def test_absent_or_odd_one_is_replaced(self, logged: Api, given: Any) -> None:
        """S22."""
        ids = set()
        for _ in range(2):
            headers = {} if given is None else {"X-Request-ID": given}
            made = logged.http.get("/health/live", headers=headers).headers["X-Request-ID"]
            assert re.fullmatch(r"[0-9a-f]{16}", made)
            ids.add(made)
        assert len(ids) == 2
        wait_until(lambda: all(any(made in line for line in logged.server.output) for made in ids))

    def test_errors_carry_it_too(self, logged: Api) -> None:
        for method, path in (("GET", "/users"), ("GET", "/nowhere"), ("DELETE", "/token"), ("POST", "/token")):
            done = Request(logged, method, path)
            assert done.answer.headers["X-Request-ID"] == done.id
