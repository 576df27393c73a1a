"""The refresh token in a cookie: for pages of one's own, and for nobody else."""

from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.logins import assert_ended, claims_of, refresh
from tests.support.people import PASSWORD, bearer
from tests.support.servers import Shared

APP = "https://app.example"
NAME = "__Host-refresh_token"
SAME = {"Sec-Fetch-Site": "same-origin"}
FORGED: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Sec-Fetch-Site": "none", "Origin": "https://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": f"{APP}.evil.example"},
    {"Origin": "null"},
    {"Origin": "*"},
    {"Origin": ""},
    {},
]


@pytest.fixture
def web(shared: Shared, kind: str) -> Iterator[Api]:
    """A service for an app of another origin, with the user `alice`; no cookie is kept by the client itself."""
    with client_of(shared.service(kind, CORS_ORIGINS=APP)) as api:
        api.new_user("alice")
        yield api
        api.http.cookies.clear()


def log_in(api: Api, headers: dict[str, str] = SAME) -> tuple[Any, str]:
    """Log in by cookie; give the answer and the cookie's refresh token."""
    form = {"username": "alice", "password": PASSWORD, "refresh_in_cookie": "true"}
    answer = api.http.post("/token", data=form, headers=headers)
    return answer, value_of(answer)


def value_of(answer: Any) -> str:
    """The refresh token that an answer's cookie brings."""
    morsel = SimpleCookie(answer.headers.get("Set-Cookie", "")).get(NAME)
    return morsel.value if morsel else ""


def sent(token: str, headers: dict[str, str] = SAME) -> dict[str, str]:
    return headers | {"Cookie": f"{NAME}={token}"}


def renew(api: Api, token: str, headers: dict[str, str] = SAME) -> Any:
    return api.http.post("/token", data={"grant_type": "refresh_token"}, headers=sent(token, headers))


class TestCookie:
    def test_keeps_the_refresh_token_from_scripts(self, web: Api) -> None:
        answer, token = log_in(web)
        assert answer.status_code == 200
        assert answer.json().keys() == {"access_token", "token_type", "expires_in", "refresh_expires_in"}
        morsel = SimpleCookie(answer.headers["Set-Cookie"])[NAME]
        assert (morsel["httponly"], morsel["secure"], morsel["path"], morsel["domain"]) == (True, True, "/", "")
        assert morsel["samesite"].lower() == "strict"
        assert int(morsel["max-age"]) == answer.json()["refresh_expires_in"] == 30 * 86_400
        assert claims_of(token)["aud"] == "userapi:refresh"
        assert web.http.get("/users/me", headers=bearer(answer.json()["access_token"])).status_code == 200

    def test_renews_and_is_renewed(self, web: Api) -> None:
        _, token = log_in(web)
        answer = renew(web, token)
        assert answer.status_code == 200
        assert "refresh_token" not in answer.json()
        assert claims_of(value_of(answer))["gen"] == 2
        assert web.http.get("/users/me", headers=bearer(answer.json()["access_token"])).status_code == 200

    def test_two_tabs_renew_at_once(self, web: Api) -> None:
        """S20, S27: both then hold the same current token."""
        _, token = log_in(web)
        first, second = renew(web, token), renew(web, token)
        assert value_of(first) == value_of(second) != token
        assert renew(web, value_of(second)).status_code == 200

    def test_logout_ends_the_session_and_clears_it(self, web: Api) -> None:
        """S1."""
        answer, token = log_in(web)
        ended = web.http.post("/revoke", headers=sent(token))
        assert (ended.status_code, ended.json()) == (200, {})
        morsel = SimpleCookie(ended.headers["Set-Cookie"])[NAME]
        assert (morsel.value, morsel["max-age"], morsel["path"], morsel["secure"]) == ("", "0", "/", True)
        assert_ended(web, {"access_token": answer.json()["access_token"], "refresh_token": token})
        assert_refused(renew(web, token), "invalid_grant")

    @ON_SQLITE
    def test_comes_only_when_asked_for(self, web: Api) -> None:
        form = {"username": "alice", "password": PASSWORD}
        for more in ({}, {"refresh_in_cookie": "false"}):
            answer = web.http.post("/token", data=form | more, headers=SAME)
            assert "refresh_token" in answer.json()
            assert "Set-Cookie" not in answer.headers
        token = answer.json()["refresh_token"]
        renewed = refresh(web, token)
        assert "Set-Cookie" not in renewed.headers
        moved = web.http.post(
            "/token",
            data={"grant_type": "refresh_token", "refresh_token": token, "refresh_in_cookie": "true"},
            headers=SAME,
        )
        assert value_of(moved) == renewed.json()["refresh_token"]

    @ON_SQLITE
    def test_a_token_in_the_form_goes_before_it(self, web: Api) -> None:
        answer, token = log_in(web)
        other = web.grant("alice")
        assert web.http.post("/revoke", data={"token": other["refresh_token"]}, headers=sent(token)).status_code == 200
        assert_ended(web, other)
        assert web.http.get("/users/me", headers=bearer(answer.json()["access_token"])).status_code == 200
        assert renew(web, token).status_code == 200

    @ON_SQLITE
    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "%00", "x" * 4000])
    def test_one_without_a_good_token_logs_nobody_in(self, web: Api, token: str) -> None:
        """S12."""
        answer = renew(web, token)
        assert answer.status_code == (400 if token else 422)
        assert answer.json()["error"] in {"invalid_grant", "invalid_request"}


@ON_SQLITE
class TestOtherPages:
    """S41: a browser sends cookies for whoever asks, so the page that asks must be one's own."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "same-site", "Origin": APP},
            {"Sec-Fetch-Site": "cross-site", "Origin": APP},
            {"Origin": APP},
        ],
    )
    def test_own_pages_may(self, web: Api, headers: dict[str, str]) -> None:
        answer, token = log_in(web, headers)
        assert answer.status_code == 200
        assert renew(web, token, headers).status_code == 200

    def test_own_origin_may_without_fetch_metadata(self, web: Api) -> None:
        _, token = log_in(web, {"Origin": web.server.base_url})
        assert renew(web, token, {"Origin": web.server.base_url}).status_code == 200

    @pytest.mark.parametrize("headers", FORGED)
    def test_others_change_nothing(self, web: Api, headers: dict[str, str]) -> None:
        """S41, S38."""
        answer, token = log_in(web)
        before = web.sql("SELECT * FROM login_sessions")
        forged = [
            log_in(web, headers)[0],
            renew(web, token, headers),
            web.http.post("/revoke", headers=sent(token, headers)),
        ]
        for refused in forged:
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_refused")
            assert "Set-Cookie" not in refused.headers
        assert web.sql("SELECT * FROM login_sessions") == before
        assert web.http.get("/users/me", headers=bearer(answer.json()["access_token"])).status_code == 200

    def test_any_origin_is_no_named_one(self, shared: Shared, kind: str) -> None:
        """S41: `CORS_ORIGINS=*` lets everybody read, and nobody use a cookie."""
        with client_of(shared.service(kind, CORS_ORIGINS="*")) as api:
            api.new_user("alice")
            for origin in (APP, "*"):
                answer, _ = log_in(api, {"Sec-Fetch-Site": "cross-site", "Origin": origin})
                assert answer.status_code == 403
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert "Access-Control-Allow-Credentials" not in answer.headers
