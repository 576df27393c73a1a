"""OAuth clients that people use log in, refresh and log out, and understand each refusal."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]  # it has no types
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]  # as above
from oauthlib.oauth2 import LegacyApplicationClient  # type: ignore[import-untyped]  # as above
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, TemporarilyUnavailableError  # type: ignore[import-untyped]  # as above
from requests_oauthlib import OAuth2Session as RequestsSession  # type: ignore[import-untyped]  # as above

from tests.support import node
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import Shared

HERE = Path(__file__).parent
LIBRARIES = ["oauth4webapi", "openid-client", "simple-oauth2"]
LOCKS_AFTER = 5  # wrong passwords
WITH_DISCOVERY = {"oauth4webapi", "openid-client"}


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    with node.workspace(HERE) as folder:
        yield folder


@pytest.fixture
def throttled(shared: Shared, kind: str) -> Iterator[Api]:
    """A service that locks accounts, with the users `alice` and `mallory`."""
    with client_of(shared.service(kind, THROTTLE_ENABLED="true")) as api:
        api.new_user("alice")
        api.new_user("mallory")
        yield api


@ON_SQLITE
class TestNode:
    @pytest.mark.parametrize("library", LIBRARIES)
    def test_library_works_and_understands_refusals(self, throttled: Api, workspace: Path, library: str) -> None:
        base = throttled.server.base_url
        told = json.loads(node.run_script(workspace, f"{library}.mjs", base, "alice", PASSWORD, WRONG_PASSWORD))
        assert told["pair"]["token_type"] == "bearer"
        assert 0 < told["pair"]["expires_in"] < told["pair"]["refresh_expires_in"]
        assert (told["me"], told["refreshed"]) == ("alice", "alice")
        assert (told["again"]["status"], told["again"]["error"]) == (400, "invalid_grant")
        assert (told["ended"]["status"], told["ended"]["code"]) == (401, "session_ended")
        assert (told["loggedOut"]["status"], told["loggedOut"]["code"]) == (401, "session_ended")
        wrong = {"status": 401, "error": "invalid_grant", "description": "Incorrect username or password"}
        assert told["wrongPassword"] == wrong
        assert (told["locked"]["status"], told["locked"]["error"]) == (429, "temporarily_unavailable")
        if library in WITH_DISCOVERY:
            paths = ("/token", "/revoke", "/introspect", "/.well-known/jwks.json")
            assert told["endpoints"] == [base + path for path in paths]


@ON_SQLITE
class TestPython:
    def test_authlib(self, throttled: Api) -> None:
        base = throttled.server.base_url

        def client() -> Any:
            return OAuth2Session("app", token_endpoint_auth_method="none", token_endpoint=f"{base}/token")

        session = client()
        first = session.fetch_token(username="alice", password=PASSWORD)
        assert session.get(f"{base}/users/me").json()["username"] == "alice"
        for _ in range(2):
            session.refresh_token(f"{base}/token")
        assert session.token["refresh_token"] != first["refresh_token"]
        assert session.get(f"{base}/users/me").status_code == 200
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(f"{base}/token", refresh_token=first["refresh_token"])
        session.fetch_token(username="alice", password=PASSWORD)
        assert session.revoke_token(f"{base}/revoke", session.token["refresh_token"]).json() == {}
        assert session.get(f"{base}/users/me").json()["code"] == "session_ended"
        with pytest.raises(OAuthError, match="invalid_grant: Incorrect username or password"):
            client().fetch_token(username="alice", password=WRONG_PASSWORD)
        for _ in range(LOCKS_AFTER):
            with pytest.raises(OAuthError, match="invalid_grant"):
                client().fetch_token(username="mallory", password=WRONG_PASSWORD)
        with pytest.raises(OAuthError, match="temporarily_unavailable"):
            client().fetch_token(username="mallory", password=WRONG_PASSWORD)
        session.close()

    def test_authlib_refreshes_by_itself(self, throttled: Api) -> None:
        """As CLIENTS.md has it for a server-rendered app."""
        base = throttled.server.base_url
        kept: list[Any] = []

        def keep(token: Any, **_: Any) -> None:
            kept.append(token)

        options = {"token_endpoint_auth_method": "none", "token_endpoint": f"{base}/token", "update_token": keep}
        client = OAuth2Session("web", **options)
        client.headers["X-Forwarded-For"] = "192.0.2.7"
        keep(client.fetch_token(username="alice", password=PASSWORD))
        client.close()
        later = OAuth2Session("web", token={**kept[0], "expires_at": 1}, **options)
        assert later.get(f"{base}/users/me").json()["username"] == "alice"
        assert len(kept) == 2
        assert later.token["refresh_token"] == kept[1]["refresh_token"] != kept[0]["refresh_token"]
        later.close()

    def test_requests_oauthlib(self, throttled: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environ, "OAUTHLIB_INSECURE_TRANSPORT", "1")
        base = throttled.server.base_url

        def log_in(username: str, password: str) -> Any:
            session = RequestsSession(client=LegacyApplicationClient("app"))
            session.fetch_token(f"{base}/token", username=username, password=password)
            return session

        session = log_in("alice", PASSWORD)
        first = session.token["refresh_token"]
        assert session.get(f"{base}/users/me").json()["username"] == "alice"
        for _ in range(2):
            session.refresh_token(f"{base}/token")
        assert session.token["refresh_token"] != first
        assert session.get(f"{base}/users/me").status_code == 200
        with pytest.raises(InvalidGrantError):
            session.refresh_token(f"{base}/token", refresh_token=first)
        with pytest.raises(InvalidGrantError, match="Incorrect username or password"):
            log_in("alice", WRONG_PASSWORD)
        for _ in range(LOCKS_AFTER):
            with pytest.raises(InvalidGrantError):
                log_in("mallory", WRONG_PASSWORD)
        with pytest.raises(TemporarilyUnavailableError):
            log_in("mallory", WRONG_PASSWORD)
        session.close()
