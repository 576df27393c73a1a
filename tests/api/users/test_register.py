"""Making an account for oneself: POST /register."""

import time
from typing import Any

import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.openapi import openapi
from tests.support.people import PASSWORD, bearer
from tests.support.servers import Shared, serving

CAROL = {"username": "carol", "email": "carol@example.com", "password": PASSWORD}


class TestOff:
    """Nobody may, unless the operator says so."""

    @ON_SQLITE
    @pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
    def test_there_is_no_such_path(self, api: Api, method: str) -> None:
        assert_refused(api.http.request(method, "/register", json=CAROL), "not_found")
        assert_refused(api.admin.request(method, "/register", json=CAROL), "not_found")
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    def test_document_does_not_name_it(self) -> None:
        assert "/register" not in openapi()["paths"]


class TestOn:
    def test_makes_a_user_that_can_log_in(self, open_api: Api) -> None:
        answer = open_api.http.post("/register", json=CAROL | {"age": 33})
        assert answer.status_code == 201
        carol = open_api.log_in("carol")
        assert answer.json() == carol.user
        assert carol.user == {
            "id": carol.id,
            "username": "carol",
            "email": "carol@example.com",
            "age": 33,
            "locale": None,
            "is_admin": False,
            "is_active": True,
            "created_at": carol.user["created_at"],
            "updated_at": None,
            "email_verified_at": None,
            "pending_email": None,
        }
        assert answer.headers["Location"] == carol.path
        assert answer.headers["ETag"] == carol.get(carol.path).headers["ETag"]
        assert PASSWORD not in answer.text

    @pytest.mark.parametrize("age", [{}, {"age": None}])
    def test_age_may_be_left_out(self, open_api: Api, age: dict[str, Any]) -> None:
        assert open_api.http.post("/register", json=CAROL | age).json()["age"] is None

    @pytest.mark.parametrize(
        "more",
        [
            {"is_admin": True},
            {"is_admin": True, "is_active": False},
            {"id": 7, "version": 9, "hashed_password": "x", "created_at": "2000-01-01T00:00:00Z"},
            {"is_admin": "nonsense"},
        ],
    )
    def test_privileges_and_read_only_fields_have_no_effect(self, open_api: Api, more: dict[str, Any]) -> None:
        """S4."""
        answer = open_api.http.post("/register", json=CAROL | more)
        assert answer.status_code == 201
        assert (answer.json()["is_admin"], answer.json()["is_active"]) == (False, True)
        assert_refused(open_api.log_in("carol").get("/users"), "not_enough_permissions")

    def test_admins_token_makes_no_admin(self, open_api: Api) -> None:
        """S4."""
        answer = open_api.admin.post("/register", json=CAROL | {"is_admin": True})
        assert (answer.status_code, answer.json()["is_admin"]) == (201, False)

    @ON_SQLITE
    def test_no_token_is_needed_nor_looked_at(self, open_api: Api) -> None:
        assert open_api.http.post("/register", json=CAROL, headers=bearer("x")).status_code == 201

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"username": "CAROL", "email": "other@example.com"}, "username_taken"),
            ({"username": "other", "email": "Carol@EXAMPLE.com"}, "email_taken"),
            ({}, "username_taken"),
        ],
    )
    def test_taken_name_is_told_as_on_create(self, open_api: Api, changes: dict[str, Any], code: str) -> None:
        """S5."""
        assert open_api.http.post("/register", json=CAROL).status_code == 201
        assert_refused(open_api.http.post("/register", json=CAROL | changes), code)
        assert_refused(open_api.admin.post("/users", json=CAROL | changes), code)
        assert open_api.sql("SELECT count(*) FROM users") == [(2,)]

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("username", "ca"),
            ("username", None),
            ("email", "nowhere"),
            ("email", None),
            ("password", "short-9"),
            ("password", None),
            ("password", "Zk4mWq7" + "x" * 66),
            ("age", 0),
        ],
    )
    def test_broken_rule_is_named_and_nothing_made(self, open_api: Api, field: str, value: Any) -> None:
        """S8."""
        assert_invalid(open_api.http.post("/register", json=CAROL | {field: value}), field)
        assert open_api.sql("SELECT count(*) FROM users") == [(1,)]

    def test_document_names_it_without_privileges(self, open_api: Api) -> None:
        document = open_api.http.get("/openapi.json").json()
        operation = document["paths"]["/register"]["post"]
        assert operation["security"] == []
        schema = document["components"]["schemas"]["UserRegister"]
        assert schema["properties"].keys() == {"username", "email", "password", "age", "locale"}


class TestLimits:
    """S28."""

    def test_registrations_of_an_address_are_limited(self, shared: Shared, kind: str) -> None:
        """S28: those that are taken cost nothing, and are told even then."""
        settings = {"THROTTLE_ENABLED": "true", "REGISTRATION_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
        with client_of(shared.service(kind, **settings)) as api:

            def register(number: int, address: str) -> Any:
                body = CAROL | {"username": f"carol{number}", "email": f"carol{number}@example.com"}
                return api.http.post("/register", json=body, headers={"X-Forwarded-For": address})

            for number in range(20):
                assert register(number, f"2001:db8::{number}").status_code == 201
                assert_refused(register(number, "2001:db8::1"), "username_taken")
            refused = register(20, "2001:db8::99")
            assert_refused(refused, "too_many_registrations")
            assert 3000 < int(refused.headers["Retry-After"]) <= 3600
            assert register(20, "2001:db8:0:1::1").status_code == 201
            assert register(21, "").status_code == 201  # loopback

    @ON_SQLITE
    def test_taken_name_is_told_without_a_hash(self, url: str) -> None:
        """S28."""
        settings = {"BCRYPT_ROUNDS": "13", "REGISTRATION_ENABLED": "true", "FIRST_ADMIN_PASSWORD": "Not-Used-1"}
        with serving(url, **settings) as server, client_of(server) as api:
            begun = time.monotonic()
            assert api.http.post("/register", json=CAROL).status_code == 201
            hashed, refused = time.monotonic() - begun, []
            for _ in range(5):
                begun = time.monotonic()
                assert_refused(api.http.post("/register", json=CAROL), "username_taken")
                refused.append(time.monotonic() - begun)
            assert min(refused) < hashed / 2
