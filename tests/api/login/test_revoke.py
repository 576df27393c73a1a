"""Logging out: POST /revoke."""

import json
from typing import Any

import jwt
import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.logins import Pair, alive, assert_ended, claims_of, refreshed, revoke
from tests.support.processes import SECRET_KEY


class TestRevoke:
    """RFC 7009; S1."""

    @pytest.mark.parametrize("kind_of_token", ["access_token", "refresh_token"])
    @pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
    def test_ends_the_session_of_the_token(self, api: Api, pair: Pair, kind_of_token: str, hint: str | None) -> None:
        """S1."""
        other = api.grant("alice")
        form = {} if hint is None else {"token_type_hint": hint}
        answer = revoke(api, pair[kind_of_token], **form)
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["Cache-Control"] == "no-store"
        assert_ended(api, pair)
        alive(api, other)

    def test_second_time_is_fine(self, api: Api, pair: Pair) -> None:
        for token in (pair["access_token"], pair["refresh_token"], pair["access_token"]):
            assert revoke(api, token).status_code == 200
        assert_ended(api, pair)

    def test_renewed_session_ends_by_any_of_its_tokens(self, api: Api, pair: Pair) -> None:
        renewed = refreshed(api, pair)
        assert revoke(api, pair["access_token"]).status_code == 200
        assert_ended(api, pair, renewed)

    @ON_SQLITE
    @pytest.mark.parametrize(
        "token",
        ["x", " ", "a.b.c", "\0", "\N{GRINNING FACE}", "x" * 7_000, json.dumps({})],
    )
    def test_unknown_token_is_fine(self, api: Api, pair: Pair, token: str) -> None:
        """S12: RFC 7009 section 2.2."""
        assert revoke(api, token).status_code == 200
        alive(api, pair)

    @pytest.mark.parametrize("changes", [{"sub": "1"}, {"aud": "userapi:other"}, {"sid": 2**40}, {"sid": 2**31 - 1}])
    def test_token_that_is_none_ends_nothing(self, api: Api, pair: Pair, changes: dict[str, Any]) -> None:
        for token in (pair["access_token"], pair["refresh_token"]):
            forged = jwt.encode({**claims_of(token), **changes}, SECRET_KEY, "HS256")
            assert revoke(api, forged).status_code == 200
        assert revoke(api, jwt.encode(claims_of(pair["access_token"]), "f" * 64, "HS256")).status_code == 200
        alive(api, pair)

    @ON_SQLITE
    @pytest.mark.parametrize("options", [{}, {"data": {"token": ""}}, {"data": {"other": "x"}}])
    def test_missing_parameter(self, api: Api, options: dict[str, Any]) -> None:
        answer = api.http.post("/revoke", **options)
        assert_refused(answer, "invalid_request")
        assert answer.json()["error"] == "invalid_request"
        assert answer.headers["Cache-Control"] == "no-store"
