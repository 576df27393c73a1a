"""Key pairs that sign access tokens: their files, their algorithms, the tokens, and the metadata."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.jwts import forge
from tests.support.logins import claims_of, refresh, revoke
from tests.support.people import bearer
from tests.support.processes import SECRET_KEY, refused_to_start
from tests.support.servers import Shared

ALGORITHMS = ["ES256", "EdDSA"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A key file of each algorithm."""
    folder = tmp_path_factory.mktemp("keys")
    for algorithm in ALGORITHMS:
        made = command("make-key", str(folder / algorithm), "--algorithm", algorithm, url="sqlite://")
        assert made.returncode == 0, made.stderr
    return {algorithm: folder / algorithm for algorithm in ALGORITHMS}


@pytest.fixture(params=ALGORITHMS)
def signing(request: pytest.FixtureRequest, shared: Shared, kind: str, files: dict[str, Path]) -> Iterator[Api]:
    """A service that signs access tokens with a key pair."""
    with client_of(shared.service(kind, SIGNING_KEY_FILES=str(files[request.param]))) as api:
        yield api


def private_key(api: Api, files: dict[str, Path], token: str) -> Any:
    return load_pem_private_key(files[jwt.get_unverified_header(token)["alg"]].read_bytes(), None)


class TestTokens:
    """RFC 9068."""

    def test_are_verified_with_the_published_key_alone(self, signing: Api) -> None:
        alice = signing.new_actor("alice")
        [key] = signing.http.get("/.well-known/jwks.json").json()["keys"]
        assert "d" not in key
        header = jwt.get_unverified_header(alice.token)
        assert header == {"alg": key["alg"], "kid": key["kid"], "typ": "at+jwt"}
        claims = jwt.decode(alice.token, jwt.PyJWK(key), [key["alg"]], audience="userapi:access")
        assert claims["sub"] == str(alice.id)
        assert claims["client_id"] == "userapi"
        again = claims_of(signing.token("alice"))
        assert len({claims["jti"], again["jti"]}) == 2
        assert claims.keys() >= {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}
        assert alice.get("/users/me").status_code == 200
        assert revoke(signing, alice.token).status_code == 200
        assert_refused(alice.get("/users/me"), "session_ended")

    @ON_SQLITE
    def test_key_decides_the_algorithm(self, signing: Api, files: dict[str, Path]) -> None:
        """S9, S43: a public key is no secret, and no header says which key is of which kind."""
        token = signing.admin.token
        claims, key = claims_of(token), private_key(signing, files, token)
        header = jwt.get_unverified_header(token)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        jwk = signing.http.get("/.well-known/jwks.json").text
        other = "EdDSA" if header["alg"] == "ES256" else "ES256"
        other_key: Any = load_pem_private_key(files[other].read_bytes(), None)
        forged = [
            forge(claims, key=public, kid=header["kid"]),
            forge(claims, key=jwk, kid=header["kid"]),
            forge(claims, key=SECRET_KEY, kid=header["kid"]),  # ours, but not what that id names
            forge(claims, None, kid=header["kid"]),
            forge(claims, key=public),
            jwt.encode(claims, other_key, other, {"kid": header["kid"]}),
            jwt.encode(claims, key, header["alg"]),  # names no key
            jwt.encode(claims, key, header["alg"], {"kid": "x"}),
            token.rpartition(".")[0] + ".",
        ]
        for wrong in forged:
            assert_refused(signing.http.get("/users/me", headers=bearer(wrong)), "invalid_token")
        good = jwt.encode(claims, key, header["alg"], {"kid": header["kid"]})
        assert signing.http.get("/users/me", headers=bearer(good)).status_code == 200

    @ON_SQLITE
    def test_claims_are_checked_as_ever(self, signing: Api, files: dict[str, Path]) -> None:
        """S9."""
        token = signing.admin.token
        claims, key, header = claims_of(token), private_key(signing, files, token), jwt.get_unverified_header(token)

        def with_(**changes: Any) -> str:
            return jwt.encode(claims | changes, key, header["alg"], {"kid": header["kid"]})

        for changes in ({"aud": "userapi:refresh"}, {"iss": "https://other.example"}, {"sub": "0"}, {"nonce": "x"}):
            assert_refused(signing.http.get("/users/me", headers=bearer(with_(**changes))), "invalid_token")
        expired = with_(exp=int(time.time()) - 5)
        assert_refused(signing.http.get("/users/me", headers=bearer(expired)), "token_expired")

    @ON_SQLITE
    def test_refresh_tokens_stay_with_the_secret(self, signing: Api, files: dict[str, Path]) -> None:
        """To begin or to end with key pairs logs nobody out; and what others hold a key for renews nothing."""
        signing.new_user("alice")
        pair = signing.grant("alice")
        assert jwt.get_unverified_header(pair["refresh_token"])["alg"] == "HS256"
        key = private_key(signing, files, pair["access_token"])
        header = jwt.get_unverified_header(pair["access_token"])
        forged = jwt.encode(claims_of(pair["refresh_token"]), key, header["alg"], {"kid": header["kid"]})
        assert_refused(refresh(signing, forged), "invalid_grant")
        assert refresh(signing, pair["refresh_token"]).status_code == 200


@ON_SQLITE
class TestMetadata:
    """RFC 8414."""

    def test_names_what_there_is(self, api: Api) -> None:
        base = api.server.base_url
        found = api.http.get("/.well-known/oauth-authorization-server").json()
        assert found["issuer"] == base
        assert found["access_token_issuer"] == claims_of(api.admin.token)["iss"]
        for name, path in [
            ("token_endpoint", "/token"),
            ("revocation_endpoint", "/revoke"),
            ("introspection_endpoint", "/introspect"),
            ("jwks_uri", "/.well-known/jwks.json"),
        ]:
            assert found[name] == base + path
        assert found["grant_types_supported"] == ["password", "refresh_token"]
        assert found["response_types_supported"] == []
        assert api.http.get("/.well-known/jwks.json").json() == {"keys": []}

    def test_documentation_is_named_where_there_is_some(self, shared: Shared, kind: str) -> None:
        with client_of(shared.service(kind)) as api:
            url = api.http.get("/.well-known/oauth-authorization-server").json()["service_documentation"]
            assert api.http.get(url).status_code == 200
        with client_of(shared.service(kind, DOCS_ENABLED="false")) as api:
            assert "service_documentation" not in api.http.get("/.well-known/oauth-authorization-server").json()

    def test_second_issuer_is_warned_of(self, shared: Shared, kind: str, files: dict[str, Path]) -> None:
        """RFC 9068 section 4."""
        for settings, warnings in (({}, 1), ({"ISSUER_URL": "https://id.example.com"}, 0)):
            server = shared.service(kind, SIGNING_KEY_FILES=str(files[ALGORITHMS[0]]), **settings)
            assert server.text.count("warning: SIGNING_KEY_FILES without ISSUER_URL") == warnings


class TestFiles:
    """S34."""

    def test_key_is_for_its_owner_and_never_overwritten(self, files: dict[str, Path]) -> None:
        for path in files.values():
            assert path.stat().st_mode & 0o777 == 0o600
            before = path.read_bytes()
            again = command("make-key", str(path), url="sqlite://")
            assert (again.returncode, "is there already" in again.stderr) == (1, True)
            assert path.read_bytes() == before

    @ON_SQLITE
    def test_key_that_others_can_read_is_refused(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        command("make-key", str(path), url="sqlite://")
        path.chmod(0o640)
        told = refused_to_start(command("serve", url=url, SIGNING_KEY_FILES=str(path)))
        assert "can be read by others" in told
        assert "chmod 600" in told

    @ON_SQLITE
    @pytest.mark.parametrize("content", [b"", b"secret", b"-----BEGIN PRIVATE KEY-----\n"])
    def test_what_is_no_key_is_refused(self, url: str, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        assert "no private key" in refused_to_start(command("serve", url=url, SIGNING_KEY_FILES=str(path)))

    @ON_SQLITE
    def test_keys_of_other_kinds_are_refused(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        path.touch(0o600)
        rsa_key = rsa.generate_private_key(65537, 2048)
        for key in (rsa_key, ec.generate_private_key(ec.SECP384R1()), ed448.Ed448PrivateKey.generate()):
            path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            told = refused_to_start(command("serve", url=url, SIGNING_KEY_FILES=str(path)))
            assert "neither for ES256 nor for EdDSA" in told
        locked = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(locked.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        assert "without a passphrase" in refused_to_start(command("serve", url=url, SIGNING_KEY_FILES=str(path)))

    @ON_SQLITE
    def test_missing_file_is_refused(self, url: str, tmp_path: Path) -> None:
        told = refused_to_start(command("serve", url=url, SIGNING_KEY_FILES=str(tmp_path / "none.pem")))
        assert "cannot be read" in told
        unmade = command("make-key", str(tmp_path / "no" / "key.pem"), url="sqlite://")
        assert (unmade.returncode, "cannot be made" in unmade.stderr) == (1, True)
