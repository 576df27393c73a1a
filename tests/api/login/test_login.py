"""Logging in: POST /token."""

from typing import Any

import jwt
import pytest
from sqlmodel import select

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import User
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer

LONGEST_PASSWORD = "Zk4mWq7-" + "x" * 64  # 72 bytes


def log_in(api: Api, username: str, password: str, **fields: Any) -> Any:
    return api.http.post("/token", data={"username": username, "password": password, **fields})


class TestToken:
    def test_answers_a_bearer_token_that_works(self, api: Api) -> None:
        """S16."""
        answer = log_in(api, "admin", ADMIN_PASSWORD)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json()
        assert body["token_type"] == "bearer"
        assert body["expires_in"] == 30 * 60
        assert api.http.get("/users/me", headers=bearer(body["access_token"])).json()["username"] == "admin"

    def test_writes_the_users_row_each_time(self, api: Api) -> None:
        """R13: on a cluster of databases, that is what orders a login against changes made on another node."""
        api.new_user("alice")
        times = select(User.logged_in_at).where(User.username == "alice")
        seen = []
        for _ in range(2):
            api.token("alice")
            with api.server.engine.connect() as connection:
                seen.append(connection.execute(times).scalar_one())
        assert None not in seen
        assert seen[0] < seen[1]

    def test_token_is_an_hs256_jwt_for_30_minutes_about_the_users_id(self, api: Api) -> None:
        user = api.new_user("alice")
        token = api.token("alice")
        assert jwt.get_unverified_header(token)["alg"] == "HS256"
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["sub"] == str(user["id"])
        assert claims["exp"] - claims["iat"] == 30 * 60
        assert "alice" not in str(claims)

    @pytest.mark.parametrize("login", ["alice", "ALICE", "alice@example.com", "Alice@EXAMPLE.com"])
    def test_takes_username_or_email_in_any_case(self, api: Api, login: str) -> None:
        """S5."""
        user = api.new_user("alice")
        assert api.log_in(login, PASSWORD).id == user["id"]

    @pytest.mark.parametrize("login", ["straße@example.com", "STRASSE@example.com", "Strasse@example.com"])
    def test_takes_an_email_in_any_spelling_that_folds_alike(self, api: Api, login: str) -> None:
        """S5: as Unicode folds letters, not only as it makes them small."""
        user = api.new_user("alice", email="Straße@example.com")
        assert api.log_in(login, PASSWORD).id == user["id"]

    @pytest.mark.parametrize("login", [" alice", "alice ", "álice", "alice@example.com ", "alice\t", "alice%", "alic_"])
    def test_takes_nothing_that_merely_resembles_a_name(self, api: Api, login: str) -> None:
        """S5."""
        api.new_user("alice")
        assert_refused(log_in(api, login, PASSWORD), "invalid_credentials")

    @ON_SQLITE
    @pytest.mark.parametrize(
        "fields",
        [
            {"grant_type": "password"},
            {"scope": ""},
            {"scope": "users:read admin"},
            {"client_id": "web", "client_secret": "anything"},
            {"remember_me": "on"},
        ],
    )
    def test_other_form_fields_change_nothing(self, api: Api, fields: dict[str, str]) -> None:
        answer = log_in(api, "admin", ADMIN_PASSWORD, **fields)
        assert answer.status_code == 200
        assert "scope" not in jwt.decode(answer.json()["access_token"], options={"verify_signature": False})

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("form", "missing"),
        [
            ({}, {"username", "password"}),
            ({"username": "admin"}, {"password"}),
            ({"password": ADMIN_PASSWORD}, {"username"}),
            ({"username": "", "password": ADMIN_PASSWORD}, {"username"}),
            ({"username": "admin", "password": ""}, {"password"}),
        ],
    )
    def test_missing_field_is_invalid(self, api: Api, form: dict[str, str], missing: set[str]) -> None:
        answer = api.http.post("/token", data=form)
        assert_invalid(answer, *missing)
        assert ADMIN_PASSWORD not in answer.text

    @ON_SQLITE
    def test_json_is_no_form(self, api: Api) -> None:
        answer = api.http.post("/token", json={"username": "admin", "password": ADMIN_PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert "application/x-www-form-urlencoded" in answer.json()["detail"]
        assert ADMIN_PASSWORD not in answer.text

    def test_unknown_wrong_and_inactive_get_the_same_answer(self, api: Api) -> None:
        """S7."""
        api.new_user("alice")
        sleeper = api.new_user("sleeper")
        assert api.admin.put(f"/users/{sleeper['id']}", json={"is_active": False}).status_code == 200
        answers = [
            log_in(api, "nobody", PASSWORD),
            log_in(api, "alice", "Wrong-Horse-7"),
            log_in(api, "sleeper", PASSWORD),
        ]
        for answer in answers:
            assert_refused(answer, "invalid_credentials")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert len({answer.content for answer in answers}) == 1
        assert len({tuple(sorted(answer.headers.keys())) for answer in answers}) == 1

    @pytest.mark.parametrize(
        "password",
        [
            PASSWORD.lower(),
            PASSWORD + " ",
            " " + PASSWORD,
            PASSWORD[:-1],
            PASSWORD + "\0",
            PASSWORD + "\0Correct",
            "\0",
            LONGEST_PASSWORD + "x",
            "x" * 5000,
            "\N{GRINNING FACE}" * 30,
            " ",
        ],
    )
    def test_wrong_password_is_refused_whatever_its_form(self, api: Api, password: str) -> None:
        """S8."""
        api.new_user("alice")
        assert_refused(log_in(api, "alice", password), "invalid_credentials")

    def test_every_byte_of_a_password_of_72_counts(self, api: Api) -> None:
        """S8."""
        api.new_user("alice", password=LONGEST_PASSWORD)
        assert log_in(api, "alice", LONGEST_PASSWORD).status_code == 200
        for other in (LONGEST_PASSWORD[:-1], LONGEST_PASSWORD[:-1] + "y", LONGEST_PASSWORD + "x"):
            assert_refused(log_in(api, "alice", other), "invalid_credentials")

    @pytest.mark.parametrize(
        "login", ["", "\0", "admin\0", "\0@", "a" * 5000, "a@" * 2000, "\N{GRINNING FACE}", "' OR 1=1 --"]
    )
    def test_odd_username_is_refused_like_any_unknown_one(self, api: Api, login: str) -> None:
        """S7, S12."""
        if login:
            assert_refused(log_in(api, login, ADMIN_PASSWORD), "invalid_credentials")
        else:
            assert_invalid(log_in(api, login, ADMIN_PASSWORD), "username")

    @pytest.mark.parametrize("stored", ["", "!", "$2b$04$short", "plain text"])
    def test_unusable_stored_hash_lets_nobody_in(self, api: Api, stored: str) -> None:
        api.new_user("alice")
        api.sql("UPDATE users SET hashed_password = :stored WHERE username = 'alice'", stored=stored)
        for password in (PASSWORD, stored or "x"):
            assert_refused(log_in(api, "alice", password), "invalid_credentials")

    def test_each_login_is_a_session_of_its_own(self, api: Api) -> None:
        alice = api.new_actor("alice")
        again = api.log_in("alice")
        assert alice.token != again.token
        assert api.sql("SELECT count(*) FROM login_sessions WHERE user_id = :id", id=alice.id) == [(2,)]

    @pytest.mark.parametrize("agent", [b"x" * 300, b"\xff\xfe\xed\xa0\x80", "\N{GRINNING FACE}".encode(), b""])
    def test_any_user_agent_may_log_in(self, api: Api, agent: bytes) -> None:
        """S12."""
        form = {"username": "admin", "password": ADMIN_PASSWORD}
        assert api.http.post("/token", data=form, headers={b"User-Agent": agent}).status_code == 200
