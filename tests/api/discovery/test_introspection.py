"""POST /introspect, and the commands for who may ask."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.logins import claims_of, row
from tests.support.processes import wait_until
from tests.support.servers import Shared

NAME = "orders-service"


@pytest.fixture
def asked(shared: Shared, kind: str) -> Iterator[Api]:
    with client_of(shared.service(kind)) as api:
        api.sql("DELETE FROM oauth_clients")
        yield api


@pytest.fixture
def secret(asked: Api) -> str:
    """The secret of a client."""
    made = command("create-client", NAME, url=asked.server.url)
    assert made.returncode == 0, made.stderr
    [secret] = re.findall(r"^client_secret: ([\w-]{43})$", made.stdout, re.MULTILINE)
    return str(secret)


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def introspect(api: Api, token: str, secret: str) -> Any:
    return api.http.post("/introspect", data={"token": token}, headers=basic(NAME, secret))


class TestIntrospection:
    """RFC 7662."""

    def test_tells_what_a_living_token_is_worth(self, asked: Api, secret: str) -> None:
        alice = asked.new_actor("alice")
        claims = claims_of(alice.token)
        answer = introspect(asked, alice.token, secret)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        told = {name: claims[name] for name in ("iss", "sub", "aud", "client_id", "jti", "iat", "exp")}
        assert answer.json() == told | {"active": True, "username": "alice", "token_type": "Bearer"}

    def test_sees_at_once_that_a_session_has_ended(self, asked: Api, secret: str) -> None:
        """S1."""
        alice = asked.new_actor("alice")
        assert asked.admin.put(alice.path, json={"is_active": False}).status_code == 200
        answer = introspect(asked, alice.token, secret)
        assert (answer.status_code, answer.json()) == (200, {"active": False})

    def test_is_a_use_of_the_token(self, asked: Api, secret: str) -> None:
        """S27: the refresh that brought it was not lost."""
        asked.new_user("alice")
        pair = asked.grant("alice")
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        renewed = asked.http.post("/token", data=form).json()
        assert introspect(asked, renewed["access_token"], secret).json()["active"] is True
        wait_until(lambda: (found := row(asked, pair)) is not None and found.used_generation == 2)

    @ON_SQLITE
    def test_refresh_token_opens_nothing(self, asked: Api, secret: str) -> None:
        asked.new_user("alice")
        for token in (asked.grant("alice")["refresh_token"], "x", "a.b.c", "\0", "x" * 7000):
            assert introspect(asked, token, secret).json() == {"active": False}

    @ON_SQLITE
    def test_credentials_may_be_in_the_form(self, asked: Api, secret: str) -> None:
        token = asked.new_actor("alice").token
        form = {"token": token, "client_id": NAME, "client_secret": secret}
        assert asked.http.post("/introspect", data=form).json()["active"] is True

    @ON_SQLITE
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            basic(NAME, "wrong"),
            basic("nobody", "wrong"),
            basic("", ""),
            basic("\0", "%00"),
            basic("x" * 5000, "x"),
            {"Authorization": "Basic !"},
            {"Authorization": "Basic YQ=="},
            {"Authorization": "Basic w7/Dvw=="},
            {"Authorization": "Bearer x"},
        ],
    )
    def test_strangers_are_told_nothing(self, asked: Api, secret: str, headers: dict[str, str]) -> None:
        """S12, S42: RFC 6749 section 5.2."""
        assert secret  # so that there is a client
        token = asked.new_actor("alice").token
        for form in ({"token": token}, {}):
            answer = asked.http.post("/introspect", data=form, headers=headers)
            assert_refused(answer, "invalid_client")
            assert answer.json()["error"] == "invalid_client"
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="userapi"'

    @ON_SQLITE
    def test_a_page_of_another_site_may_not_use_credentials_that_the_browser_has(self, asked: Api, secret: str) -> None:
        """S38."""
        token = asked.new_actor("alice").token
        headers = basic(NAME, secret) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        assert asked.http.post("/introspect", data={"token": token}, headers=headers).status_code == 403

    @ON_SQLITE
    def test_missing_token(self, asked: Api, secret: str) -> None:
        assert_refused(asked.http.post("/introspect", headers=basic(NAME, secret)), "invalid_request")


class TestCommands:
    def test_secret_is_shown_once_and_only_its_digest_kept(self, asked: Api, secret: str) -> None:
        """S42."""
        rows = asked.sql("SELECT name, secret_digest FROM oauth_clients")
        assert rows == [(NAME, hashlib.sha256(secret.encode()).hexdigest())]
        assert command("list-clients", url=asked.server.url).stdout == f"{NAME}\n"

    def test_names_are_taken_once_whatever_the_case(self, asked: Api, secret: str) -> None:
        again = command("create-client", NAME, url=asked.server.url)
        assert (again.returncode, again.stderr) == (1, f"error: there is a client {NAME} already\n")
        other = command("create-client", NAME.upper(), url=asked.server.url)
        assert other.returncode == 0
        assert introspect(asked, asked.admin.token, secret).json()["active"] is True

    def test_deleted_client_is_told_nothing(self, asked: Api, secret: str) -> None:
        token = asked.new_actor("alice").token
        assert command("delete-client", NAME, url=asked.server.url).returncode == 0
        assert_refused(introspect(asked, token, secret), "invalid_client")
        missing = command("delete-client", NAME, url=asked.server.url)
        assert (missing.returncode, missing.stderr) == (1, f"error: there is no client {NAME}\n")
        assert command("list-clients", url=asked.server.url).stdout == ""

    @ON_SQLITE
    @pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "x" * 65, "a\n"])
    def test_odd_names_are_refused(self, asked: Api, name: str) -> None:
        refused = command("create-client", name, url=asked.server.url)
        assert (refused.returncode, refused.stderr.startswith("error: ")) == (1, True)
        assert asked.sql("SELECT name FROM oauth_clients") == []
