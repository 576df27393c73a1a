"""Other services check access tokens: one verifies signatures by itself, one asks."""

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2 as httpx
import jwt
import pytest

from tests.support import node
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.logins import claims_of, revoke
from tests.support.people import bearer
from tests.support.servers import Shared, serving

HERE = Path(__file__).parent

get = partial(httpx.get, timeout=30)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    with node.workspace(HERE) as folder:
        yield folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two key files, one of each kind."""
    folder = tmp_path_factory.mktemp("keys")
    files = [str(folder / f"{algorithm}.pem") for algorithm in ("ES256", "EdDSA")]
    for file, algorithm in zip(files, ("ES256", "EdDSA"), strict=True):
        assert command("make-key", file, "--algorithm", algorithm, url="sqlite://").returncode == 0
    return files


@pytest.fixture
def signing(shared: Shared, kind: str, keys: list[str]) -> Iterator[Api]:
    """A service whose access tokens others can verify."""
    with client_of(shared.service(kind, SIGNING_KEY_FILES=keys[0])) as api:
        yield api


class TestVerifying:
    """By `jose`, with the public keys: RFC 9068 section 4."""

    @ON_SQLITE
    def test_it_believes_good_tokens_only_and_sees_no_revocation(self, signing: Api, workspace: Path) -> None:
        alice = signing.new_actor("alice")
        refresh_token = signing.grant("alice")["refresh_token"]
        with node.http_service(workspace, "jose-service.mjs", signing.server.base_url) as address:
            told = get(address, headers=bearer(alice.token)).json()
            assert (told["sub"], told["alg"], told["typ"]) == (str(alice.id), "ES256", "at+jwt")
            assert told["client_id"] == "userapi"
            assert told["jti"] == claims_of(alice.token)["jti"]
            tampered = alice.token[:-6] + "AAAAAA"
            symmetric = jwt.encode(claims_of(alice.token), "f" * 64, "HS256", {"kid": told["kid"], "typ": "at+jwt"})
            for wrong in (tampered, symmetric, refresh_token, "x"):
                assert get(address, headers=bearer(wrong)).status_code == 401
            assert revoke(signing, alice.token).status_code == 200
            assert alice.get("/users/me").status_code == 401
            assert get(address, headers=bearer(alice.token)).status_code == 200  # until it expires

    @ON_SQLITE
    def test_keys_rotate_while_tokens_live(self, url: str, keys: list[str], workspace: Path) -> None:
        """S43: the new key is known before it signs; the old one verifies until its last token has expired."""
        settings = {"FIRST_ADMIN_PASSWORD": "Right-Battery-9"}
        form = {"username": "admin", "password": "Right-Battery-9"}
        old, new = keys
        tokens: list[str] = []
        for files in ("", old, f"{old},{new}", f"{new},{old}", new):
            with serving(url, SIGNING_KEY_FILES=files, **settings) as server, server.client() as http:
                tokens.append(http.post("/token", data=form).json()["access_token"])
                known = len(http.get("/.well-known/jwks.json").json()["keys"])
                assert known == len([file for file in files.split(",") if file])
                here = [http.get("/users/me", headers=bearer(token)).status_code for token in tokens]
                elsewhere: list[int] = []
                if files:
                    with node.http_service(workspace, "jose-service.mjs", server.base_url) as address:
                        elsewhere = [get(address, headers=bearer(token)).status_code for token in tokens]
            if files == new:
                assert here == [200, 401, 401, 200, 200]  # the secret's, two of the key that is gone, two of the new
                assert elsewhere == [401, 401, 401, 200, 200]
            else:
                assert set(here) == {200}
                assert set(elsewhere[1:]) <= {200}
        algorithms = [jwt.get_unverified_header(token)["alg"] for token in tokens]
        assert algorithms == ["HS256", "ES256", "ES256", "EdDSA", "EdDSA"]

    @ON_SQLITE
    def test_issuer_is_a_url_where_one_is_set(self, shared: Shared, keys: list[str], kind: str) -> None:
        url = "https://accounts.example/api"
        with client_of(shared.service(kind, SIGNING_KEY_FILES=keys[1], ISSUER_URL=url)) as api:
            assert claims_of(api.admin.token)["iss"] == url
            metadata = api.http.get("/.well-known/oauth-authorization-server").json()
            assert (metadata["issuer"], metadata["access_token_issuer"]) == (url, url)
            assert metadata["token_endpoint"] == f"{url}/token"
            assert api.admin.get("/users/me").status_code == 200


class TestAsking:
    """By introspection: RFC 7662."""

    @pytest.mark.parametrize("how", ["basic", "post"])
    def test_it_sees_revocation_at_once(self, api: Api, workspace: Path, how: str) -> None:
        """S1."""
        name = f"orders.{how}-{time.monotonic_ns()}"
        made = command("create-client", name, url=api.server.url)
        secret = re.findall("client_secret: (.*)", made.stdout)[0]
        alice = api.new_actor("alice")
        base = api.server.base_url
        with node.http_service(workspace, "introspecting-service.mjs", base, name, secret, how) as address:
            told = get(address, headers=bearer(alice.token)).json()
            assert (told["active"], told["sub"], told["username"]) == (True, str(alice.id), "alice")
            assert revoke(api, alice.token).status_code == 200
            ended = get(address, headers=bearer(alice.token))
            assert (ended.status_code, ended.json()) == (401, {"active": False})
            assert command("delete-client", name, url=api.server.url).returncode == 0
            refused = get(address, headers=bearer(alice.token))
            assert (refused.status_code, refused.json()) == (500, {"error": "basic"})
