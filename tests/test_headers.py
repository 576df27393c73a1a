"""Headers: what every answer carries, and which of a request's are believed."""

import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import REQUIRED, shared_server
from tests.service import (
    ADMIN_PASSWORD,
    ON_SQLITE,
    PASSWORD,
    ROOT,
    Api,
    bearer,
    free_port,
    operations,
    wait_until,
)


@ON_SQLITE
class TestEveryAnswer:
    ANSWERS = pytest.mark.parametrize(
        ("method", "path", "options", "status"),
        [
            ("POST", "/token", {"data": {"username": "admin", "password": ADMIN_PASSWORD}}, 200),
            ("POST", "/token", {"data": {"username": "admin", "password": PASSWORD}}, 401),
            ("POST", "/token", {"data": {"grant_type": "refresh_token", "refresh_token": "x"}}, 400),
            ("POST", "/token", {}, 422),
            ("POST", "/revoke", {"data": {"token": "x"}}, 200),
            ("GET", "/users", {}, 200),
            ("GET", "/users/me", {}, 200),
            ("PUT", "/users/me", {"json": {"age": 5}}, 200),
            ("PATCH", "/users/me", {"json": {"age": 500}}, 422),
            ("GET", "/users/me/sessions", {}, 200),
            ("DELETE", "/users/me/sessions?keep_current=true", {}, 204),
            ("DELETE", "/users/me", {}, 400),
            ("GET", "/users/2147483647", {}, 404),
            ("GET", "/users/", {}, 307),
            ("GET", "/nowhere", {}, 404),
            ("GET", "/token", {}, 405),
            ("POST", "/users", {"content": b"x" * 70_000}, 413),
            ("GET", "/health/live", {}, 200),
        ],
        ids=str,
    )

    @ANSWERS
    def test_is_kept_by_nobody_and_is_what_it_says(
        self, api: Api, method: str, path: str, options: dict[str, Any], status: int
    ) -> None:
        """S16."""
        answer = api.admin.request(method, path, **options)
        assert answer.status_code == status
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert len(answer.headers.get_list("X-Request-ID")) == 1
        assert "Server" not in answer.headers
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]

    def test_refused_bearer_is_kept_by_nobody(self, api: Api) -> None:
        for headers in ({}, bearer("x")):
            answer = api.http.get("/users/me", headers=headers)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (401, "no-store")

    @pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
    def test_documentation_holds_nothing_personal_and_may_be_kept(self, api: Api, path: str) -> None:
        answer = api.http.get(path)
        assert answer.status_code == 200
        assert "Cache-Control" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@ON_SQLITE
class TestMethods:
    """S21."""

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/token", {"POST"}),
            ("/revoke", {"POST"}),
            ("/users", {"GET", "POST"}),
            ("/users/me", {"GET", "PUT", "PATCH", "DELETE"}),
            ("/users/1", {"GET", "PUT", "PATCH", "DELETE"}),
            ("/users/1/sessions", {"GET", "DELETE"}),
            ("/users/1/sessions/1", {"DELETE"}),
            ("/health/live", {"GET"}),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    def test_wrong_one_names_all_that_are_right(self, api: Api, path: str, allowed: set[str], method: str) -> None:
        """S21."""
        if method in allowed:
            template = path.replace("/1/", "/{user_id}/").replace("sessions/1", "sessions/{session_id}")
            template = re.sub(r"^/users/(1|me)$", "/users/{user_id}", template)
            assert (method, template) in operations()
            return
        answer = api.admin.request(method, path)
        assert answer.status_code == 405
        assert answer.json()["code"] == "method_not_allowed"
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


FORGED = {"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com", "Forwarded": "host=evil.example.com"}


@ON_SQLITE
class TestHost:
    """Who is asked for is the client's word: no link is made of it."""

    def test_links_are_relative(self, api: Api) -> None:
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        created = api.admin.post("/users", json=body, headers=FORGED)
        assert created.headers["Location"] == f"/users/{created.json()['id']}"
        listed = api.admin.get("/users?page_size=1&total=true", headers=FORGED)
        assert set(re.findall("<([^?>]*)", listed.headers["Link"])) == {"/users"}
        for answer in (created, listed):
            assert "evil" not in str(answer.headers) + answer.text

    @pytest.mark.parametrize(
        ("path", "location"),
        [
            ("/users/", "/users"),
            ("/users/?q=a&page=1", "/users?q=a&page=1"),
            ("/users/me/", "/users/me"),
            ("/users///", "/users"),
            ("/health/live/", "/health/live"),
        ],
    )
    def test_needless_slash_leads_to_the_path_without(self, api: Api, path: str, location: str) -> None:
        answer = api.admin.get(path, headers=FORGED)
        assert (answer.status_code, answer.headers["Location"]) == (307, location)
        assert "evil" not in str(answer.headers)

    @pytest.mark.parametrize(
        "path",
        [
            "//evil.example.com/",
            "//evil.example.com/users/",
            "///users/",
            "/%2Fevil.example.com/",
            "/\\evil.example/",
            "/",
        ],
    )
    def test_no_path_leads_to_another_host(self, api: Api, path: str) -> None:
        connection = httpx.Client(base_url=api.server.base_url, verify=False)
        answer = connection.get(f"{api.server.base_url}{path}")
        connection.close()
        assert answer.status_code == 404
        assert "Location" not in answer.headers

    @pytest.mark.parametrize("host", ["", "a b", "evil.example.com:99999", "[::1", "x" * 5000, "a@b"])
    def test_odd_one_does_no_harm(self, api: Api, host: str) -> None:
        """S12."""
        assert api.admin.get("/users/", headers={"Host": host}).status_code in {307, 400}


@contextmanager
def trusting(proxies: str) -> Iterator[Api]:
    with shared_server("sqlite", FORWARDED_ALLOW_IPS=proxies) as server:
        api = Api(server)
        yield api
        api.close()


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[Api]:
    """A service that believes a proxy on this host."""
    with trusting("127.0.0.1,192.0.2.0/24") as api:
        yield api


def ip_seen(api: Api, **headers: str) -> str | None:
    """The address that a login is taken to come from."""
    name = f"u{secrets.token_hex(4)}"
    api.new_user(name)
    token = api.grant(name, **headers)["access_token"]
    (session,) = api.http.get("/users/me/sessions", headers=bearer(token)).json()
    ip: str | None = session["ip"]
    return ip


class TestForwarded:
    """Only the proxies that the operator names are believed."""

    @ON_SQLITE
    @pytest.mark.parametrize("given", ["203.0.113.7", "127.0.0.2", "x"])
    def test_by_default_nobody_is(self, api: Api, given: str) -> None:
        headers = {"X-Forwarded-For": given, "X-Real-IP": given, "Forwarded": f"for={given}"}
        assert ip_seen(api, **headers) == "127.0.0.1"

    def test_other_addresses_are_not(self) -> None:
        with trusting("192.0.2.1") as api:
            assert ip_seen(api, **{"X-Forwarded-For": "203.0.113.7"}) == "127.0.0.1"

    @pytest.mark.parametrize(
        ("given", "seen"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("6.6.6.6, 203.0.113.7", "203.0.113.7"),  # what the client itself said stands before
            ("6.6.6.6, 203.0.113.7, 192.0.2.9", "203.0.113.7"),  # through two proxies that are believed
        ],
    )
    def test_named_proxy_is(self, behind_proxy: Api, given: str, seen: str) -> None:
        assert ip_seen(behind_proxy, **{"X-Forwarded-For": given}) == seen

    def test_named_proxy_need_not_say(self, behind_proxy: Api) -> None:
        assert ip_seen(behind_proxy) == "127.0.0.1"

    def test_links_stay_relative(self, behind_proxy: Api) -> None:
        headers = {**FORGED, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
        answer = behind_proxy.admin.get("/users/", headers=headers)
        assert answer.headers["Location"] == "/users"


def readme_block(language: str) -> str:
    """The one block of code of this language in README."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(block)


@pytest.fixture
def nginx(behind_proxy: Api) -> Iterator[str]:
    """The address of an nginx with README's configuration, in front of a service."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        if "nginx" in REQUIRED:
            pytest.fail("USERAPI_TEST_REQUIRE names nginx: there is none")
        pytest.skip("there is no nginx")
    port = free_port()
    server = readme_block("nginx").replace("http://127.0.0.1:8000", behind_proxy.server.base_url)
    server, replaced = re.subn(r"listen \d+;", f"listen 127.0.0.1:{port};", server)
    assert replaced == 1
    with tempfile.TemporaryDirectory(prefix="userapi_nginx_") as folder:
        paths = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
            f" events {{}} http {{ access_log off; {paths} {server} }}"
        )
        process = subprocess.Popen([binary, "-p", folder, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, (Path(folder) / "error.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class TestNginx:
    """README's configuration does what it is for."""

    def test_client_is_who_nginx_says_whatever_it_says_itself(self, nginx: str) -> None:
        # Both are on this host, so the client's address tells nothing: what it claims must not show.
        with httpx.Client(base_url=nginx, verify=False) as http:
            form = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = http.post("/token", data=form, headers={"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "forged"})
            assert answer.status_code == 200
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])  # nginx's, in both logs
            assert answer.headers["Cache-Control"] == "no-store"
            token = bearer(answer.json()["access_token"])
            newest = http.get("/users/me/sessions", headers=token).json()[0]
            assert (newest["ip"], newest["current"]) == ("127.0.0.1", True)
            redirect = http.get("/users/?page=1", headers=token)
            assert redirect.headers["Location"] in {"/users?page=1", f"{nginx}/users?page=1"}
            assert http.get("/users?page_size=1", headers=token).headers["Link"].startswith("</users?")

    def test_large_body_ends_at_nginx(self, nginx: str) -> None:
        """S18."""
        with httpx.Client(base_url=nginx, verify=False) as http:
            answer = http.post("/token", content=b"x" * 70_000)
            assert (answer.status_code, "nginx" in answer.text) == (413, True)
