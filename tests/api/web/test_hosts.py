"""Headers of a request that say who asks, by which host: which are believed."""

import re
import secrets

import httpx2 as httpx
import pytest

from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.people import PASSWORD, bearer
from tests.support.servers import Shared

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
        ],
    )
    def test_no_path_leads_to_another_host(self, api: Api, path: str) -> None:
        connection = httpx.Client(base_url=api.server.base_url, verify=False, timeout=30)
        answer = connection.get(f"{api.server.base_url}{path}")
        connection.close()
        assert answer.status_code == 404
        assert "Location" not in answer.headers

    @pytest.mark.parametrize("host", ["", "a b", "evil.example.com:99999", "[::1", "x" * 5000, "a@b"])
    def test_odd_one_does_no_harm(self, api: Api, host: str) -> None:
        """S12."""
        assert api.admin.get("/users/", headers={"Host": host}).status_code in {307, 400}


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

    def test_other_addresses_are_not(self, shared: Shared) -> None:
        with client_of(shared.service("sqlite", FORWARDED_ALLOW_IPS="192.0.2.1")) as api:
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
        headers = {**FORGED, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "//evil"}
        answer = behind_proxy.admin.get("/users/", headers=headers)
        assert answer.headers["Location"] == "/users"
