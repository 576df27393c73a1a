"""HEAD answers as GET does, without the content (RFC 9110 section 9.3.2)."""

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE

OF_EACH_ANSWER = {"date", "x-request-id", "content-security-policy"}  # that of pages names a nonce


@ON_SQLITE
@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/.well-known/jwks.json", "/account/forgot",
     "/users", "/users/me", "/users/me/events", "/nowhere"],
)  # fmt: skip
def test_head_is_get_without_the_content(api: Api, path: str) -> None:
    got, head = (api.admin.request(method, path) for method in ("GET", "HEAD"))
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in (got.headers.keys() | head.headers.keys()) - OF_EACH_ANSWER:
        assert head.headers[name] == got.headers[name]
    assert api.admin.get("/users/me").status_code == 200  # on the same connection


@ON_SQLITE
def test_head_needs_what_get_needs(api: Api) -> None:
    assert api.http.head("/users/me").status_code == 401
    answer = api.http.head("/token")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
