"""The service under a path, behind a proxy that cuts it off or leaves it there."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from tests.support.client import Api, client_of
from tests.support.nginx import nginx
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.servers import Shared, shared_server

ALICE = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
SERVER = """
server {{
    listen 8080;
    location {prefix}/ {{
        proxy_pass {service}{cut};
        proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Forwarded-For $remote_addr; {header}
    }}
}}
"""


@pytest.fixture(scope="module")
def with_option() -> Iterator[Api]:
    """A service that was told its path on the command line, with two processes, which must both know it."""
    options = ("--root-path", "/api", "--workers", "2")
    with shared_server("sqlite", *options, FORWARDED_ALLOW_IPS="127.0.0.1") as server, client_of(server) as api:
        yield api


@pytest.fixture(params=["cut", "left"])
def configured(request: pytest.FixtureRequest, with_option: Api) -> Iterator[httpx.Client]:
    cut = "/" if request.param == "cut" else ""
    server = SERVER.format(prefix="/api", service=with_option.server.base_url, cut=cut, header="")
    with nginx(server) as address, httpx.Client(base_url=f"{address}/api", timeout=30) as http:
        yield http


def assert_prefixed(http: httpx.Client, prefix: str) -> None:
    """Check everything that names a path."""
    site = f"https://{http.base_url.host}:{http.base_url.port}{prefix}"

    def get(path: str, **options: Any) -> httpx.Response:
        return http.get(path, **options)

    assert get("/").headers["Location"] == f"{prefix}/docs"
    page = get("/docs").text
    assert f"'{prefix}/openapi.json'" in page
    assert f'"{prefix}/static-offline-docs/' in page
    for file in ("/static-offline-docs/swagger-ui.css", "/redoc", "/health/ready"):
        assert get(file).status_code == 200
    assert "Cache-Control" not in get("/docs").headers
    document = get("/openapi.json").json()
    assert document["servers"][0]["url"] == prefix  # `tokenUrl` is relative to that
    metadata = get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == site
    for name, path in {"token_endpoint": "/token", "jwks_uri": "/.well-known/jwks.json"}.items():
        assert metadata[name] == site + path
    form = {"username": "admin", "password": ADMIN_PASSWORD}
    token = bearer(http.post("/token", data=form).json()["access_token"])
    made = http.post("/users", json=ALICE, headers=token)
    assert made.headers["Location"] == f"{prefix}/users/{made.json()['id']}"
    assert http.delete(f"/users/{made.json()['id']}", headers=token).status_code == 200
    assert get("/users", params={"page_size": 1}, headers=token).headers["Link"].startswith(f"<{prefix}/users?")
    assert get("/users/?page=1", headers=token).headers["Location"] == f"{prefix}/users?page=1"
    assert get("/nothing").status_code == 404
    wrong = http.put("/token")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")


class TestPrefix:
    def test_of_the_command_line_is_everywhere(self, configured: httpx.Client) -> None:
        assert_prefixed(configured, "/api")

    @pytest.mark.parametrize("cut", ["/", ""])
    def test_of_a_trusted_proxy_is_everywhere(self, behind_proxy: Api, cut: str) -> None:
        header = "proxy_set_header X-Forwarded-Prefix /accounts/v1;"
        service = behind_proxy.server.base_url
        server = SERVER.format(prefix="/accounts/v1", service=service, cut=cut, header=header)
        with nginx(server) as address, httpx.Client(base_url=f"{address}/accounts/v1", timeout=30) as http:
            assert_prefixed(http, "/accounts/v1")

    @pytest.mark.parametrize("told", ["//evil.example", "https://evil.example", "/a b", '/a"b', "x", "/<x>", "/"])
    def test_of_odd_form_is_not_believed(self, behind_proxy: Api, told: str) -> None:
        answer = behind_proxy.http.get("/", headers={"X-Forwarded-Prefix": told})
        assert answer.headers["Location"] == "/docs"

    def test_of_a_stranger_is_not_believed(self, shared: Shared) -> None:
        for proxies in ("", "192.0.2.1"):
            with client_of(shared.service("sqlite", FORWARDED_ALLOW_IPS=proxies)) as api:
                assert api.http.get("/", headers={"X-Forwarded-Prefix": "/api"}).headers["Location"] == "/docs"


class TestRoot:
    def test_says_what_this_is_where_the_documentation_is_off(self, shared: Shared) -> None:
        with client_of(shared.service("sqlite", DOCS_ENABLED="false")) as api:
            answer = api.http.get("/")
            assert (answer.status_code, answer.json()["service"]) == (200, "userapi")
            assert api.http.get("/docs").status_code == 404
