"""Grants that are refused: POST /token."""

from typing import Any

import jwt
import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.logins import Pair, alive, assert_ended, claims_of, refresh
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.processes import SECRET_KEY


class TestRefusedGrant:
    """S16: RFC 6749 section 5.2."""

    def test_inactive_user(self, api: Api, pair: Pair) -> None:
        """S1."""
        api.sql("UPDATE users SET is_active = false WHERE username = 'alice'")  # past the API, which ends the session
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")

    @pytest.mark.parametrize(
        ("method", "changes"),
        [("PATCH", {"is_active": False}), ("PATCH", {"password": "Other-Saddle-8"}), ("DELETE", None)],
    )
    def test_user_whose_sessions_an_admin_ended(
        self, api: Api, pair: Pair, method: str, changes: dict[str, Any] | None
    ) -> None:
        """S1."""
        path = f"/users/{claims_of(pair['access_token'])['sub']}"
        assert api.admin.request(method, path, json=changes).status_code == 200
        assert_ended(api, pair)

    def test_access_token_is_no_refresh_token(self, api: Api, pair: Pair) -> None:
        """S9."""
        assert_refused(refresh(api, pair["access_token"]), "invalid_grant")
        assert alive(api, pair).generation == 1

    @ON_SQLITE
    @pytest.mark.parametrize("path", ["/users/me", "/users/me/sessions"])
    def test_refresh_token_is_no_access_token(self, api: Api, pair: Pair, path: str) -> None:
        """S9."""
        assert_refused(api.http.get(path, headers=bearer(pair["refresh_token"])), "invalid_token")

    @ON_SQLITE
    @pytest.mark.parametrize(
        "token",
        ["x", " ", "a.b.c", "..", "\0", "\N{GRINNING FACE}", "null", "x" * 7_000, "eyJ." * 1000],
    )
    def test_what_is_no_token(self, api: Api, token: str) -> None:
        """S12."""
        assert_refused(refresh(api, token), "invalid_grant")

    @pytest.mark.parametrize(
        "changes",
        [
            {"sid": 2**31 - 1},
            {"sid": 2**31},
            {"sid": 0},
            {"sid": "x"},
            {"sid": None},
            {"sub": str(2**31 - 1)},
            {"sub": "x"},
            {"gen": 0},
            {"gen": 2**63},
            {"gen": "x"},
            {"aud": "userapi:other"},
            {"exp": 10**18},
        ],
    )
    def test_token_with_odd_claims(self, api: Api, pair: Pair, changes: dict[str, Any]) -> None:
        """S9: even one signed with the service's own key."""
        claims = {**claims_of(pair["refresh_token"]), **changes}
        answer = refresh(api, jwt.encode(claims, SECRET_KEY, "HS256"))
        if "exp" in changes:
            assert answer.status_code < 500
        else:
            assert_refused(answer, "invalid_grant")
            alive(api, pair)

    @ON_SQLITE
    @pytest.mark.parametrize("key", ["f" * 64, SECRET_KEY.upper()])
    def test_token_of_a_foreign_key(self, api: Api, pair: Pair, key: str) -> None:
        """S9."""
        forged = jwt.encode(claims_of(pair["refresh_token"]), key, "HS256")
        assert_refused(refresh(api, forged), "invalid_grant")
        alive(api, pair)

    def test_token_of_another_users_session(self, api: Api, pair: Pair) -> None:
        """S2."""
        claims = claims_of(pair["refresh_token"]) | {"sub": str(api.admin.id)}
        assert_refused(refresh(api, jwt.encode(claims, SECRET_KEY, "HS256")), "invalid_grant")
        alive(api, pair)

    @ON_SQLITE
    @pytest.mark.parametrize("form", [{}, {"refresh_token": ""}])
    def test_missing_parameter(self, api: Api, form: dict[str, str]) -> None:
        answer = api.http.post("/token", data={"grant_type": "refresh_token", **form})
        assert_invalid(answer, "refresh_token")
        assert answer.json()["error"] == "invalid_request"
        assert answer.headers["Cache-Control"] == "no-store"

    @ON_SQLITE
    @pytest.mark.parametrize("twice", ["username=mallory", "%75sername=mallory", "scope=x&scope=y", "password="])
    def test_parameter_of_two_values(self, api: Api, twice: str) -> None:
        """RFC 6749 section 3.2."""
        form = f"username=admin&password={ADMIN_PASSWORD}&{twice}"
        answer = api.http.post("/token", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert answer.json()["error"] == "invalid_request"

    @ON_SQLITE
    @pytest.mark.parametrize(
        "grant_type", ["client_credentials", "authorization_code", "PASSWORD", "refresh", " ", "\0", "x" * 5000]
    )
    def test_unsupported_grant(self, api: Api, pair: Pair, grant_type: str) -> None:
        form = {"username": "admin", "password": ADMIN_PASSWORD, "refresh_token": pair["refresh_token"]}
        answer = api.http.post("/token", data={**form, "grant_type": grant_type})
        assert_refused(answer, "unsupported_grant_type")
        assert answer.json()["error"] == "unsupported_grant_type"
        assert answer.headers["Cache-Control"] == "no-store"
        assert alive(api, pair).generation == 1

    @ON_SQLITE
    def test_refused_refresh_says_so_in_the_rfcs_word(self, api: Api) -> None:
        answer = refresh(api, "x")
        assert answer.json().keys() == {"detail", "code", "error", "error_description"}
        assert answer.json()["error"] == "invalid_grant"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "WWW-Authenticate" not in answer.headers

    def test_refused_login_says_so_in_the_rfcs_word(self, api: Api) -> None:
        answer = api.http.post("/token", data={"username": "admin", "password": PASSWORD})
        assert_refused(answer, "invalid_credentials")
        assert answer.json()["error"] == "invalid_grant"
        assert answer.headers["Cache-Control"] == "no-store"
