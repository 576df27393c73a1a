"""Tokens that are renewed: the refresh grant."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.insides import now
from tests.support.logins import Pair, alive, assert_ended, change, claims_of, id_of, refresh, refreshed, row, use
from tests.support.openapi import openapi
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import SECRET_KEY
from tests.support.servers import Shared

IDLE, WHOLE = timedelta(days=30), timedelta(days=90)


SLACK = timedelta(seconds=60)  # between this process's clock and a slow answer


class TestRefresh:
    """RFC 6749 section 6; S20."""

    def test_answers_a_new_pair_that_works(self, api: Api, pair: Pair) -> None:
        """S16, S20."""
        answer = refresh(api, pair["refresh_token"])
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        renewed = answer.json()
        assert renewed.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in"}
        assert (renewed["token_type"], renewed["expires_in"]) == ("bearer", 30 * 60)
        assert renewed["refresh_token"] != pair["refresh_token"]
        me = api.http.get("/users/me", headers=bearer(renewed["access_token"]))
        assert me.json()["username"] == "alice"

    def test_goes_on_in_the_same_session(self, api: Api, pair: Pair) -> None:
        newest = refreshed(api, refreshed(api, refreshed(api, pair)))
        assert id_of(newest) == id_of(pair)
        assert claims_of(newest["access_token"])["sid"] == id_of(pair)
        assert api.sql("SELECT count(*) FROM login_sessions WHERE generation = 4") == [(1,)]
        alive(api, pair)

    @ON_SQLITE
    @pytest.mark.parametrize(
        "form", [{"username": "admin", "password": ADMIN_PASSWORD}, {"scope": "admin"}, {"client_id": "web"}]
    )
    def test_other_form_fields_change_nothing(self, api: Api, pair: Pair, form: dict[str, str]) -> None:
        answer = refresh(api, pair["refresh_token"], **form)
        assert answer.status_code == 200
        assert claims_of(answer.json()["access_token"])["sub"] == claims_of(pair["access_token"])["sub"]

    def test_other_sessions_are_untouched(self, api: Api, pair: Pair) -> None:
        other = api.grant("alice")
        refreshed(api, pair)
        assert alive(api, other).generation == 1

    def test_nothing_that_lies_in_the_database_is_a_token(self, api: Api, pair: Pair) -> None:
        """S20: nothing usable at rest."""
        renewed = refreshed(api, pair)
        kept = repr(api.sql("SELECT * FROM login_sessions")) + repr(api.sql("SELECT * FROM users"))
        for token in (pair["refresh_token"], renewed["refresh_token"], renewed["access_token"]):
            for part in token.split("."):
                assert part not in kept

    def test_document_tells_where_to_refresh(self) -> None:
        scheme = openapi()["components"]["securitySchemes"]["OAuth2PasswordBearer"]
        assert scheme["flows"]["password"]["refreshUrl"] == scheme["flows"]["password"]["tokenUrl"] == "token"


class TestReuse:
    """S20, S27: the token just rotated out serves parallel tabs and a client that got no answer; others were copied."""

    def test_parallel_tabs_get_the_same_current_token(self, api: Api, pair: Pair) -> None:
        first = refreshed(api, pair)
        for _ in range(3):
            again = refreshed(api, pair)
            assert again["refresh_token"] == first["refresh_token"]
            alive(api, again)
        assert alive(api, first).generation == 2
        refreshed(api, first)

    @pytest.mark.parametrize("seconds", [1, 5])
    def test_within_the_grace_it_serves_again(self, api: Api, pair: Pair, seconds: int) -> None:
        use(api, refreshed(api, pair))
        change(api, pair, rotated_at=now() - timedelta(seconds=seconds))
        assert claims_of(refreshed(api, pair)["refresh_token"])["gen"] == 2

    def test_grace_is_not_made_longer_by_using_it(self, api: Api, pair: Pair) -> None:
        refreshed(api, pair)
        began = alive(api, pair).rotated_at
        refreshed(api, pair)
        assert alive(api, pair).rotated_at == began

    @pytest.mark.parametrize("seconds", [12, 3600, 20 * 24 * 3600])
    def test_lost_answer_is_given_again_whenever_it_is_asked_for(self, api: Api, pair: Pair, seconds: int) -> None:
        """S27: from another address or another program, too."""
        lost = refreshed(api, pair)
        change(api, pair, rotated_at=now() - timedelta(seconds=seconds), ip="192.0.2.1", user_agent="Other")
        for _ in range(2):
            again = refreshed(api, pair)
            assert claims_of(again["refresh_token"])["gen"] == claims_of(lost["refresh_token"])["gen"] == 2
        use(api, pair)  # an access token of before says nothing of the answer
        alive(api, refreshed(api, refreshed(api, pair)))

    @pytest.mark.parametrize("purpose", ["access", "refresh"])
    def test_once_the_answer_is_used_it_ends_the_session(self, api: Api, pair: Pair, purpose: str) -> None:
        """S27."""
        current = refreshed(api, pair)
        if purpose == "access":
            use(api, current)
        else:
            refreshed(api, current)
        change(api, pair, rotated_at=now() - timedelta(seconds=12))
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        assert_ended(api, pair, current)

    @pytest.mark.parametrize("other", [{"ip": "192.0.2.1"}, {"ip": None}, {"user_agent": "Other"}])
    def test_within_the_grace_it_serves_nobody_else(self, api: Api, pair: Pair, other: dict[str, Any]) -> None:
        """S27: the client that refreshed is not the one that asks now."""
        current = refreshed(api, pair)
        use(api, current)
        change(api, pair, **other)
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        assert_ended(api, pair, current)

    def test_grace_is_for_who_refreshed_last_not_for_who_logged_in(self, api: Api, pair: Pair) -> None:
        """S27."""
        current = refresh(api, pair["refresh_token"], agent="Tab").json()
        use(api, current)
        assert refresh(api, pair["refresh_token"], agent="Tab").status_code == 200
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        assert_ended(api, pair, current)

    def test_use_is_noted_once_a_rotation(self, api: Api, pair: Pair) -> None:
        """S27: and a login needs no note at all."""
        assert alive(api, pair).used_generation == 1
        current = refreshed(api, pair)
        assert row(api, pair).used_generation == 1  # type: ignore[union-attr]  # it is there
        use(api, pair)
        assert row(api, pair).used_generation == 1  # type: ignore[union-attr]  # as above
        use(api, current)
        assert row(api, pair).used_generation == 2  # type: ignore[union-attr]  # as above

    @pytest.mark.parametrize("seconds", [10.1, 3600])
    def test_after_the_grace_it_ends_the_session(self, api: Api, pair: Pair, seconds: float) -> None:
        current = refreshed(api, pair)
        use(api, current)
        change(api, pair, rotated_at=now() - timedelta(seconds=seconds))
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        assert_ended(api, pair, current)

    def test_an_older_one_ends_the_session_even_within_the_grace(self, api: Api, pair: Pair) -> None:
        second = refreshed(api, pair)
        third = refreshed(api, second)
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        assert_ended(api, pair, second, third)

    def test_only_its_own_session_is_ended(self, api: Api, pair: Pair) -> None:
        other = api.grant("alice")
        refreshed(api, refreshed(api, pair))
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        alive(api, other)


class TestLifetime:
    def test_session_lives_30_days_from_its_login(self, api: Api, pair: Pair) -> None:
        found = alive(api, pair)
        assert found.expires_at - found.created_at == IDLE
        assert abs(found.created_at - now()) < SLACK

    def test_each_refresh_gives_it_30_days_again(self, api: Api, pair: Pair) -> None:
        change(api, pair, created_at=now() - timedelta(days=20), expires_at=now() + timedelta(days=10))
        renewed = refreshed(api, pair)
        found = alive(api, renewed)
        assert abs(found.expires_at - (now() + IDLE)) < SLACK
        assert claims_of(renewed["refresh_token"])["exp"] == int(found.expires_at.timestamp())

    def test_never_more_than_90_days_in_all(self, api: Api, pair: Pair) -> None:
        created_at = now() - timedelta(days=80)
        change(api, pair, created_at=created_at, expires_at=now() + timedelta(days=1))
        renewed = refreshed(api, pair)
        assert abs(alive(api, renewed).expires_at - (created_at + WHOLE)) < timedelta(milliseconds=1)

    def test_access_token_does_not_outlive_the_session(self, api: Api, pair: Pair) -> None:
        ends_at = now() + timedelta(minutes=10)
        change(api, pair, created_at=ends_at - WHOLE)
        renewed = refreshed(api, pair)
        assert 9 * 60 < renewed["expires_in"] <= 10 * 60
        assert claims_of(renewed["access_token"])["exp"] <= ends_at.timestamp()
        assert claims_of(renewed["refresh_token"])["exp"] <= ends_at.timestamp()

    def test_expired_session_is_not_renewed(self, api: Api, pair: Pair) -> None:
        change(api, pair, expires_at=now() - timedelta(seconds=1))
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")
        found = row(api, pair)
        assert found is None or found.generation == 1

    def test_expired_token_is_refused_though_the_session_lives(self, api: Api, pair: Pair) -> None:
        claims = claims_of(pair["refresh_token"]) | {"exp": int(time.time()) - 1}
        assert_refused(refresh(api, jwt.encode(claims, SECRET_KEY, "HS256")), "invalid_grant")
        alive(api, pair)


def test_lifetimes_can_be_set(shared: Shared) -> None:
    lifetimes = {"ACCESS_TOKEN_EXPIRE_MINUTES": "5", "REFRESH_TOKEN_EXPIRE_DAYS": "3", "SESSION_MAX_DAYS": "2"}
    with client_of(shared.service("sqlite", **lifetimes)) as api:
        pair = api.grant("admin", ADMIN_PASSWORD)
    assert pair["expires_in"] == 5 * 60
    claims = claims_of(pair["refresh_token"])
    days = datetime.fromtimestamp(claims["exp"], UTC) - datetime.fromtimestamp(claims["iat"], UTC)
    assert days == timedelta(days=2)  # the lesser of the two
