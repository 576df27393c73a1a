"""Tokens fit one deployment and one login session."""

import asyncio
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE, sqlite_path
from tests.support.insides import Database, issuer
from tests.support.jwts import forge
from tests.support.logins import Pair, alive, change, claims_of, refresh, revoke
from tests.support.people import NEW_PASSWORD, bearer
from tests.support.servers import Shared, serving

FOREIGN = "A" * 22


def assert_worthless(api: Api, *tokens: str, code: str = "invalid_token") -> None:
    """Check that neither the access token nor the refresh token reads, renews or revokes."""
    access, renewal = tokens
    assert_refused(api.http.get("/users/me", headers=bearer(access)), code)
    assert_refused(refresh(api, renewal), "invalid_grant")
    for token in (access, renewal):
        assert revoke(api, token).status_code == 200  # it is none already


class TestBound:
    """S26."""

    @pytest.mark.parametrize("name", ["iss", "nonce"])
    @pytest.mark.parametrize("value", [FOREIGN, "", None, 5, ["x"], "x" * 21 + "\0", "x" * 23, "\ud800" * 22])
    def test_other_issuer_or_nonce_is_refused(self, api: Api, pair: Pair, name: str, value: Any) -> None:
        """S26, S12: ids that fit are not enough, and nothing of the session changes."""
        tokens = [forge(claims_of(pair[kind]) | {name: value}) for kind in ("access_token", "refresh_token")]
        known_shape = name == "nonce" and value == FOREIGN
        assert_worthless(api, *tokens, code="session_ended" if known_shape else "invalid_token")
        assert alive(api, pair).generation == 1

    @pytest.mark.parametrize("name", ["iss", "nonce"])
    def test_without_it_a_token_is_refused(self, api: Api, pair: Pair, name: str) -> None:
        """S9: as those of a version that knew neither."""
        tokens = [claims_of(pair[kind]) for kind in ("access_token", "refresh_token")]
        for claims in tokens:
            del claims[name]
        assert_worthless(api, *map(forge, tokens))
        alive(api, pair)

    def test_session_that_took_the_id_has_another_nonce(self, api: Api, pair: Pair) -> None:
        """S26, R20: as after an older backup is restored."""
        change(api, pair, nonce=FOREIGN)
        assert_worthless(api, pair["access_token"], pair["refresh_token"], code="session_ended")
        assert api.sql("SELECT nonce FROM login_sessions WHERE nonce = :nonce", nonce=FOREIGN)

    def test_nonces_are_random_and_tokens_of_a_session_share_one(self, api: Api, pair: Pair) -> None:
        other = claims_of(api.grant("alice")["access_token"])
        mine = [claims_of(pair[kind]) for kind in ("access_token", "refresh_token")]
        assert mine[0]["nonce"] == mine[1]["nonce"] != other["nonce"]
        assert mine[0]["iss"] == mine[1]["iss"] == other["iss"]
        assert len(other["nonce"]) == len(other["iss"]) == 22  # 128 bits

    def test_same_key_on_another_database_accepts_none(self, shared: Shared, kind: str, api: Api) -> None:
        api.new_user("alice")
        pair = api.grant("alice")
        with client_of(shared.service(kind, ACCESS_TOKEN_EXPIRE_MINUTES="31")) as other:
            other.new_user("alice")
            theirs = other.grant("alice")
            change(other, theirs, nonce=claims_of(pair["access_token"])["nonce"])
            same = {name: claims_of(theirs["access_token"])[name] for name in ("sub", "sid")}
            claims = claims_of(pair["access_token"]) | same
            assert_refused(other.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")
            claims["iss"] = claims_of(theirs["access_token"])["iss"]
            assert other.http.get("/users/me", headers=bearer(forge(claims))).status_code == 200

    def test_processes_that_start_together_agree_on_the_issuer(self, url: str) -> None:
        async def all_at_once() -> list[str]:
            databases = [Database(url) for _ in range(6)]
            try:
                return list(await asyncio.gather(*map(issuer, databases)))
            finally:
                for database in databases:
                    await database.close()

        found = asyncio.run(all_at_once())
        assert len(set(found)) == 1
        assert asyncio.run(all_at_once()) == found

    @ON_SQLITE
    def test_new_database_beside_an_old_key_file_accepts_none(self, empty_url: str) -> None:
        path = sqlite_path(empty_url)
        settings = {"SECRET_KEY": "", "FIRST_ADMIN_PASSWORD": NEW_PASSWORD}
        tokens: list[str] = []
        for _ in range(2):
            with serving(empty_url, **settings) as server, server.client() as http:
                for token in tokens:
                    assert_refused(http.get("/users/me", headers=bearer(token)), "invalid_token")
                answer = http.post("/token", data={"username": "admin", "password": NEW_PASSWORD})
                tokens.append(answer.json()["access_token"])
            for file in path.parent.glob(f"{path.name}*"):
                if not file.name.endswith(".secret_key"):
                    file.unlink()
        first, second = map(claims_of, tokens)
        assert (first["sub"], first["sid"]) == (second["sub"], second["sid"])
        assert first["iss"] != second["iss"]

    @ON_SQLITE
    def test_restart_keeps_tokens(self, url: str) -> None:
        tokens: list[str] = []
        for _ in range(2):
            with serving(url, FIRST_ADMIN_PASSWORD=NEW_PASSWORD) as server, server.client() as http:
                for token in tokens:
                    assert http.get("/users/me", headers=bearer(token)).status_code == 200
                answer = http.post("/token", data={"username": "admin", "password": NEW_PASSWORD})
                tokens.append(answer.json()["access_token"])
