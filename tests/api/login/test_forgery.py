"""Access tokens that are refused."""

import time
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.jwts import encoded_part, forge
from tests.support.logins import claims_of
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import SECRET_KEY
from tests.support.unchanged import Unchanged

ABSENT = object()
NO_NUMBERS: list[Any] = [None, "", "x", [], {}, float("nan"), float("inf")]
TOO_BIG = [2**31, 2**63, 10**18, 10**30]
ODD_CLAIM_VALUES: dict[str, list[Any]] = {
    "exp": [ABSENT, *NO_NUMBERS],
    "iat": [ABSENT, *NO_NUMBERS, 10**12, 10**30],
    "nbf": [*NO_NUMBERS[1:], 10**12, 10**30],
    "sub": [ABSENT, None, "", "alice", "0", "-1", "1.0", "1e3", "\0", "\ud800", "9" * 5000, 1, 1.5, True, [], {}]
    + [str(number) for number in TOO_BIG],
    "sid": [ABSENT, *NO_NUMBERS, 0, -1, 1.5, "\0", "9" * 5000, *TOO_BIG],
    "gen": [ABSENT, *NO_NUMBERS, 0, -1, *TOO_BIG],
    "aud": [ABSENT, None, "", "userapi:refresh", "userapi", [], {}, 5, ["userapi:refresh"], [5]],
}


ODD_CLAIMS = [(name, value) for name, values in ODD_CLAIM_VALUES.items() for value in values]


@pytest.fixture
def claims(api: Api) -> dict[str, Any]:
    """The claims of a living token; a copy of it is accepted, so that each refusal has one cause."""
    claims = claims_of(api.admin.token)
    assert api.http.get("/users/me", headers=bearer(forge(claims))).status_code == 200
    return claims


def test_what_no_database_could_look_up_is_refused(api: Api, claims: dict[str, Any]) -> None:
    """S9, S12: numbers past every column, text that some databases choke on; other keys and algorithms."""
    odd = [(name, value) for name in ("sub", "sid") for value in [*TOO_BIG, 0, -1, "\0", "\ud800", "9" * 5000]]
    forged = [forge(claims | {name: str(value) if name == "sub" else value}) for name, value in odd]
    for token in [*forged, forge(claims, None), forge(claims, "HS512"), forge(claims, key="f" * 64)]:
        assert_refused(api.http.get("/users/me", headers=bearer(token)), "invalid_token")


@ON_SQLITE
class TestForgery(Unchanged):
    """S9."""

    @pytest.mark.parametrize(
        ("name", "value"), ODD_CLAIMS, ids=lambda value: "-" if value is ABSENT else ascii(value)[:24]
    )
    def test_missing_or_odd_claim_is_refused(self, api: Api, claims: dict[str, Any], name: str, value: Any) -> None:
        """S12."""
        claims[name] = value
        if value is ABSENT:
            del claims[name]
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")

    @pytest.mark.parametrize("wanted", ["{}.0", " {}", "+{}", "0{}", "{}\n", "{}_"])
    def test_subject_is_written_in_one_way(self, api: Api, claims: dict[str, Any], wanted: str) -> None:
        claims["sub"] = wanted.format(claims["sub"])
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")

    @pytest.mark.parametrize("seconds", [-1, -30, -3600])
    def test_expired_token_is_refused(self, api: Api, claims: dict[str, Any], seconds: int) -> None:
        claims["exp"] = int(time.time()) + seconds
        answer = api.http.get("/users/me", headers=bearer(forge(claims)))
        assert_refused(answer, "token_expired")
        challenge = 'Bearer error="invalid_token", error_description="The access token has expired"'
        assert answer.headers["WWW-Authenticate"] == challenge
        for wrong in ({"aud": "userapi:refresh"}, {"iss": "x"}, {"sub": "0"}):
            assert_refused(api.http.get("/users/me", headers=bearer(forge(claims | wrong))), "invalid_token")
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, key="f" * 64))), "invalid_token")

    def test_refresh_token_is_no_access_token(self, api: Api) -> None:
        answer = api.http.post("/token", data={"username": "admin", "password": ADMIN_PASSWORD})
        refresh_token = answer.json()["refresh_token"]
        assert_refused(api.http.get("/users/me", headers=bearer(refresh_token)), "invalid_token")

    @pytest.mark.parametrize("algorithm", [None, "HS384", "HS512"])
    def test_other_algorithm_is_refused(self, api: Api, claims: dict[str, Any], algorithm: str | None) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, algorithm))), "invalid_token")

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "HS512", "RS256", "", "hs256", None, 5, []])
    def test_claimed_algorithm_is_not_believed(self, api: Api, claims: dict[str, Any], name: Any) -> None:
        for token in (forge(claims, alg=name), forge(claims, None, alg=name)):
            assert_refused(api.http.get("/users/me", headers=bearer(token)), "invalid_token")

    @pytest.mark.parametrize("key", ["", "x", SECRET_KEY[:-1], SECRET_KEY.upper(), "f" * 64])
    def test_foreign_key_is_refused(self, api: Api, claims: dict[str, Any], key: str) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, key=key))), "invalid_token")

    @pytest.mark.parametrize("header", [{"crit": ["x"]}, {"b64": False, "crit": ["b64"]}, {"crit": "x"}, {"kid": {}}])
    def test_header_that_must_be_understood_is_refused(self, api: Api, claims: dict[str, Any], header: Any) -> None:
        """RFC 7515 section 4.1.11."""
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, **header))), "invalid_token")

    @pytest.mark.parametrize("payload", [None, [], "text", 5, [[[]]], {}])
    def test_payload_that_is_no_object_of_claims_is_refused(self, api: Api, payload: Any) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(payload))), "invalid_token")

    def test_tampered_token_is_refused(self, api: Api) -> None:
        token = api.admin.token
        header, _, signature = token.split(".")
        payload = encoded_part(claims_of(token) | {"sub": str(api.admin.id + 1)})
        for forged in (f"{header}.{payload}.{signature}", token[:-4], token + "AAAA", f"{header}..{signature}"):
            assert_refused(api.http.get("/users/me", headers=bearer(forged)), "invalid_token")

    @pytest.mark.parametrize(
        "token",
        [
            b"x",
            b".",
            b"..",
            b"....",
            b"a.b.c",
            b"\xff.\xfe.\xfd",
            "\N{GRINNING FACE}".encode(),
            b"eyJ" + b"A" * 60_000,
            b"=.=.=",
            b"null",
            b"Bearer x",
            b"a b c",
        ],
    )
    def test_what_is_no_jwt_is_refused(self, api: Api, token: bytes) -> None:
        """S12."""
        answer = api.http.get("/users/me", headers={b"Authorization": b"Bearer " + token})
        assert_refused(answer, "invalid_token")
