"""Tokens that are renewed and revoked: the refresh grant, POST /revoke."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from tests.conftest import shared_server
from tests.logins import Pair, alive, assert_ended, change, claims_of, id_of, refresh, refreshed, revoke, row
from tests.service import (
    ADMIN_PASSWORD,
    ON_SQLITE,
    PASSWORD,
    SECRET_KEY,
    Api,
    Call,
    assert_invalid,
    assert_refused,
    at_once,
    bearer,
    openapi,
)
from userapi.models import now

IDLE, WHOLE = timedelta(days=30), timedelta(days=90)
SLACK = timedelta(seconds=60)  # between this process's clock and a slow answer


@pytest.fixture
def pair(api: Api) -> Pair:
    """The tokens of a user who has just logged in."""
    api.new_user("alice")
    return api.grant("alice")


class TestRefresh:
    """RFC 6749 section 6; S20."""

    def test_answers_a_new_pair_that_works(self, api: Api, pair: Pair) -> None:
        """S16, S20."""
        answer = refresh(api, pair["refresh_token"])
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        renewed = answer.json()
        assert renewed.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
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
        (scheme,) = openapi()["components"]["securitySchemes"].values()
        assert scheme["flows"]["password"]["refreshUrl"] == scheme["flows"]["password"]["tokenUrl"] == "token"


class TestReuse:
    """S20: the token just rotated out serves parallel tabs; an older one was copied."""

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
        refreshed(api, pair)
        change(api, pair, rotated_at=now() - timedelta(seconds=seconds))
        assert claims_of(refreshed(api, pair)["refresh_token"])["gen"] == 2

    def test_grace_is_not_made_longer_by_using_it(self, api: Api, pair: Pair) -> None:
        refreshed(api, pair)
        began = alive(api, pair).rotated_at
        refreshed(api, pair)
        assert alive(api, pair).rotated_at == began

    @pytest.mark.parametrize("seconds", [10.1, 3600])
    def test_after_the_grace_it_ends_the_session(self, api: Api, pair: Pair, seconds: float) -> None:
        current = refreshed(api, pair)
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


class TestParallelRefresh:
    """S20: real parallel requests to four processes."""

    ROUNDS = 8
    TABS = 16

    def test_all_get_the_same_token_by_one_step(self, crowded: Api) -> None:
        crowded.new_user("alice")
        pair = crowded.grant("alice")
        for generation in range(2, 2 + self.ROUNDS):
            form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
            replies = at_once(crowded.server, [Call("POST", "/token", form=form)] * self.TABS)
            assert {reply.status for reply in replies} == {200}, replies
            assert len({reply.body["refresh_token"] for reply in replies}) == 1
            pair = replies[0].body
            assert alive(crowded, pair).generation == generation
            uses = [Call("GET", "/users/me", reply.body["access_token"]) for reply in replies]
            assert {use.status for use in at_once(crowded.server, uses)} == {200}

    def test_no_token_survives_a_logout_among_them(self, crowded: Api) -> None:
        crowded.new_user("alice")
        for number in range(self.ROUNDS):
            pair = crowded.grant("alice")
            form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
            calls = [Call("POST", "/token", form=form)] * 8
            calls.insert(number, Call("POST", "/revoke", form={"token": pair["refresh_token"]}))
            replies = at_once(crowded.server, calls)
            assert replies.pop(number).status == 200
            assert {reply.status for reply in replies} <= {200, 400}, replies
            assert_ended(crowded, pair, *(reply.body for reply in replies if reply.status == 200))


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


@pytest.fixture(scope="module")
def short_lived() -> Iterator[Api]:
    """A client of a service with lifetimes of its own."""
    lifetimes = {
        "ACCESS_TOKEN_EXPIRE_MINUTES": "5",
        "REFRESH_TOKEN_EXPIRE_DAYS": "3",
        "SESSION_MAX_DAYS": "2",
    }
    with shared_server("sqlite", **lifetimes) as server:
        api = Api(server)
        yield api
        api.close()


def test_lifetimes_can_be_set(short_lived: Api) -> None:
    pair = short_lived.grant("admin", ADMIN_PASSWORD)
    assert pair["expires_in"] == 5 * 60
    claims = claims_of(pair["refresh_token"])
    days = datetime.fromtimestamp(claims["exp"], UTC) - datetime.fromtimestamp(claims["iat"], UTC)
    assert days == timedelta(days=2)  # the lesser of the two


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
        ["x", " ", "a.b.c", "..", "\0", "\N{GRINNING FACE}", "null", "x" * 50_000, "eyJ." * 1000],
        ids=lambda token: ascii(token)[:20],
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
        ids=str,
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
        assert answer.json().keys() == {"detail", "code", "error"}
        assert answer.json()["error"] == "invalid_grant"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "WWW-Authenticate" not in answer.headers

    def test_refused_login_says_so_in_the_rfcs_word(self, api: Api) -> None:
        answer = api.http.post("/token", data={"username": "admin", "password": PASSWORD})
        assert_refused(answer, "invalid_credentials")
        assert answer.json()["error"] == "invalid_grant"
        assert answer.headers["Cache-Control"] == "no-store"


class TestRevoke:
    """RFC 7009; S1."""

    @pytest.mark.parametrize("kind_of_token", ["access_token", "refresh_token"])
    @pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
    def test_ends_the_session_of_the_token(self, api: Api, pair: Pair, kind_of_token: str, hint: str | None) -> None:
        """S1."""
        other = api.grant("alice")
        form = {} if hint is None else {"token_type_hint": hint}
        answer = revoke(api, pair[kind_of_token], **form)
        assert (answer.status_code, answer.content) == (200, b"")
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
        ["x", " ", "a.b.c", "\0", "\N{GRINNING FACE}", "x" * 50_000, json.dumps({})],
        ids=lambda token: ascii(token)[:20],
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
    @pytest.mark.parametrize(
        "options", [{}, {"data": {"token": ""}}, {"data": {"other": "x"}}, {"json": {"token": "x"}}]
    )
    def test_missing_parameter(self, api: Api, options: dict[str, Any]) -> None:
        answer = api.http.post("/revoke", **options)
        assert_refused(answer, "invalid_request")
        assert answer.json()["error"] == "invalid_request"
        assert answer.headers["Cache-Control"] == "no-store"
