"""Headers that every answer carries, and methods that a path has."""

import re
from typing import Any

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.openapi import operations
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.unchanged import Unchanged


@ON_SQLITE
class TestEveryAnswer:
    ANSWERS = pytest.mark.parametrize(
        ("method", "path", "options", "status"),
        [
            ("POST", "/token", {"data": {"username": "admin", "password": ADMIN_PASSWORD}}, 200),
            ("POST", "/token", {"data": {"username": "admin", "password": PASSWORD}}, 401),
            ("POST", "/token", {"data": {"grant_type": "refresh_token", "refresh_token": "x"}}, 400),
            ("POST", "/token", {}, 422),
            ("POST", "/revoke", {"data": {"token": "x"}}, 200),
            ("GET", "/users", {}, 200),
            ("GET", "/users/me", {}, 200),
            ("PUT", "/users/me", {"json": {"age": 5}}, 200),
            ("PATCH", "/users/me", {"json": {"age": 500}}, 422),
            ("GET", "/users/me/sessions", {}, 200),
            ("DELETE", "/users/me/sessions?keep_current=true", {}, 204),
            ("DELETE", "/users/me", {}, 400),
            ("GET", "/users/2147483647", {}, 404),
            ("GET", "/users/", {}, 307),
            ("GET", "/nowhere", {}, 404),
            ("GET", "/token", {}, 405),
            ("POST", "/users", {"content": b"x" * 70_000}, 413),
            ("GET", "/health/live", {}, 200),
        ],
    )

    @ANSWERS
    def test_is_kept_by_nobody_and_is_what_it_says(
        self, api: Api, method: str, path: str, options: dict[str, Any], status: int
    ) -> None:
        """S16."""
        answer = api.admin.request(method, path, **options)
        assert answer.status_code == status
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
        assert len(answer.headers.get_list("X-Request-ID")) == 1
        assert "Server" not in answer.headers
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]

    def test_refused_bearer_is_kept_by_nobody(self, api: Api) -> None:
        for headers in ({}, bearer("x")):
            answer = api.http.get("/users/me", headers=headers)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (401, "no-store")

    @pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
    def test_documentation_holds_nothing_personal_and_may_be_kept(self, api: Api, path: str) -> None:
        answer = api.http.get(path)
        assert answer.status_code == 200
        assert "Cache-Control" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@ON_SQLITE
class TestMethods(Unchanged):
    """S21."""

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/token", {"POST"}),
            ("/revoke", {"POST"}),
            ("/users", {"GET", "POST"}),
            ("/users/me", {"GET", "PUT", "PATCH", "DELETE"}),
            ("/users/1", {"GET", "PUT", "PATCH", "DELETE"}),
            ("/users/1/sessions", {"GET", "DELETE"}),
            ("/users/1/sessions/1", {"DELETE"}),
            ("/health/live", {"GET"}),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    def test_wrong_one_names_all_that_are_right(self, api: Api, path: str, allowed: set[str], method: str) -> None:
        """S21."""
        if method in allowed:
            template = path.replace("/1/", "/{user_id}/").replace("sessions/1", "sessions/{session_id}")
            template = re.sub(r"^/users/(1|me)$", "/users/{user_id}", template)
            assert (method, template) in operations()
            return
        answer = api.admin.request(method, path)
        assert answer.status_code == 405
        assert answer.json()["code"] == "method_not_allowed"
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed
