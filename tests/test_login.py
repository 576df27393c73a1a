"""Logging in: POST /token."""

import pytest

from tests.service import ADMIN_PASSWORD, PASSWORD, Api, bearer


class TestToken:
    def test_answers_a_bearer_token_that_works(self, api: Api) -> None:
        answer = api.http.post("/token", data={"username": "admin", "password": ADMIN_PASSWORD})
        assert answer.status_code == 200
        body = answer.json()
        assert body["token_type"] == "bearer"
        assert body["expires_in"] == 30 * 60
        assert api.http.get("/users/me", headers=bearer(body["access_token"])).json()["username"] == "admin"

    @pytest.mark.parametrize("login", ["alice", "ALICE", "alice@example.com", "Alice@EXAMPLE.com"])
    def test_takes_username_or_email_in_any_case(self, api: Api, login: str) -> None:
        """S5."""
        user = api.new_user("alice")
        assert api.log_in(login, PASSWORD).id == user["id"]
