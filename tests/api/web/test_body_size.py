"""How large a body may be; paths and methods that there are not."""

import pytest

from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.routes import BODIES, send

MAX_BODY_BYTES = 64 * 1024
JSON = {"Content-Type": "application/json"}


class TestBodySize:
    """S18."""

    @ON_SQLITE
    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize(("method", "path", "media"), [taken[:3] for taken in BODIES])
    def test_more_than_64_kib_is_refused(
        self, api: Api, alice: Actor, method: str, path: str, media: str, chunked: bool
    ) -> None:
        start = b'{"age": 9, "x": "' if media.endswith("json") else b"token=x&username=admin&password="
        body = start + b"x" * MAX_BODY_BYTES
        content = iter([body[:1000], body[1000:]]) if chunked else body
        answer = send(api, method, path, alice, content=content, headers={"Content-Type": media})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        assert answer.headers["Content-Type"] == "application/json"
        assert alice.get("/users/me").json() == alice.user

    @pytest.mark.parametrize("chunked", [False, True])
    def test_64_kib_are_not_refused(self, alice: Actor, chunked: bool) -> None:
        start, end = b'{"age": 9, "x": "', b'"}'
        body = start + b"x" * (MAX_BODY_BYTES - len(start) - len(end)) + end
        assert len(body) == MAX_BODY_BYTES
        answer = alice.put("/users/me", content=iter([body[:1000], body[1000:]]) if chunked else body, headers=JSON)
        assert (answer.status_code, answer.json()["age"]) == (200, 9)

    @ON_SQLITE
    def test_stranger_learns_no_more_than_the_limit(self, api: Api) -> None:
        answer = api.http.put("/users/me", content=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
        assert answer.status_code in {401, 413}
        assert isinstance(answer.json()["code"], str)


class TestMethodsAndPaths:
    def test_wrong_method_names_the_right_ones(self, api: Api) -> None:
        """S21."""
        for method, path, allowed in (
            ("PUT", "/users", {"GET", "HEAD", "POST"}),
            ("POST", "/users/me", {"GET", "PUT", "PATCH", "DELETE"}),
            ("GET", "/token", {"POST"}),
            ("DELETE", "/health/live", {"GET"}),
        ):
            answer = api.admin.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
            assert set(answer.headers["Allow"].split(", ")) >= allowed

    @ON_SQLITE
    @pytest.mark.parametrize(
        "path", ["/nothing", "/users/1/2/3", "/%00", "/%FF", "/nothing//users", "/users/me/%2e%2e"]
    )
    def test_unknown_path_is_not_found_in_the_common_shape(self, api: Api, path: str) -> None:
        answer = api.admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
