"""README's configuration of nginx does what it is for."""

import re
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from tests.support.client import Api
from tests.support.nginx import nginx
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import ROOT


def readme_block(language: str) -> str:
    """The one block of code of this language in README."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(block)


@pytest.fixture
def address(behind_proxy: Api) -> Iterator[str]:
    """The address of an nginx with README's configuration, in front of a service."""
    with nginx(readme_block("nginx").replace("http://127.0.0.1:8000", behind_proxy.server.base_url)) as address:
        yield address


class TestNginx:
    """README's configuration does what it is for."""

    def test_client_is_who_nginx_says_whatever_it_says_itself(self, address: str) -> None:
        # Both are on this host, so the client's address tells nothing: what it claims must not show.
        with httpx.Client(base_url=address, verify=False, timeout=30) as http:
            form = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = http.post("/token", data=form, headers={"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "forged"})
            assert answer.status_code == 200
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])  # nginx's, in both logs
            assert answer.headers["Cache-Control"] == "no-store"
            token = bearer(answer.json()["access_token"])
            newest = http.get("/users/me/sessions", headers=token).json()[0]
            assert (newest["ip"], newest["current"]) == ("127.0.0.1", True)
            redirect = http.get("/users/?page=1", headers=token)
            assert redirect.headers["Location"] in {"/users?page=1", f"{address}/users?page=1"}
            assert http.get("/users?page_size=1", headers=token).headers["Link"].startswith("</users?")
            assert http.get("/", headers={"X-Forwarded-Prefix": "/forged"}).headers["Location"] == "/docs"
            metadata = http.get("/.well-known/oauth-authorization-server").json()
            assert metadata["token_endpoint"] == f"{address}/token"

    def test_large_body_ends_at_nginx(self, address: str) -> None:
        """S18."""
        with httpx.Client(base_url=address, verify=False, timeout=30) as http:
            answer = http.post("/token", content=b"x" * 70_000)
            assert (answer.status_code, "nginx" in answer.text) == (413, True)
