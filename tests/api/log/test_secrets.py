"""The log: nothing secret, nothing forged."""

import re
import secrets

import jwt
import pytest

from tests.support.client import Actor, Api
from tests.support.log_lines import Request
from tests.support.logins import refresh
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD
from tests.support.processes import SECRET_KEY


class TestInjection:
    """S22: what a client chooses cannot look like something else."""

    @pytest.mark.parametrize(
        "text",
        [
            "eve\r\n2025-01-01T00:00:00.000Z INFO userapi.events login_succeeded user_id=1",
            'eve\n{"message": "login_succeeded", "user_id": 1}',
            'eve" user_id=1 message="login_succeeded',
            "eve user_id=1",
            "eve\u2028user_id=1\u0085x\x0b\x0cy",
            "eve\x1b[2J\x1b[31mred\x07",
            "eve\0\x7f",
            "\u202eeve",
            "%s %d {x} %(message)s",
            "\N{GRINNING FACE}" * 20,
        ],
    )
    def test_odd_username_is_not_repeated(self, logged: Api, text: str) -> None:
        """S22."""
        text = f"{secrets.token_hex(3)}{text}"
        done = Request(logged, "POST", "/token", data={"username": text, "password": PASSWORD})
        assert done.events.keys() == {"login_failed"}
        assert text[:6] not in "".join(done.raw)
        assert len(done.raw) == 2
        for line in done.raw:
            assert line.rstrip("\n").isprintable()

    def test_long_username_takes_no_room(self, logged: Api) -> None:
        done = Request(logged, "POST", "/token", data={"username": "x" * 50_000, "password": PASSWORD})
        assert len("".join(done.raw)) < 1000

    @pytest.mark.parametrize("path", ["/%0d%0aforged", "/users/%0aforged", "/users/%1b%5b2Jforged", "/x%20status=200"])
    def test_odd_path_is_not_repeated(self, logged: Api, path: str) -> None:
        """S22."""
        done = Request(logged, "GET", path, logged.admin)
        assert "forged" not in "".join(done.raw)
        assert len(done.raw) == 1

    def test_forwarded_address_stays_one_field(self, logged: Api) -> None:
        """S22: even a proxy may pass on what a client says."""
        headers = {"X-Forwarded-For": "eve user_id=1"}
        name = f"u{secrets.token_hex(6)}"
        done = Request(logged, "POST", "/token", data={"username": name, "password": PASSWORD}, headers=headers)
        assert done.events["login_failed"]["ip"] == "eve user_id=1"


SECRET = re.compile(r"\$2[aby]\$|eyJ")


class TestSecrets:
    """S11."""

    def test_no_password_hash_or_token_is_logged(self, logged: Api) -> None:
        """S11, S35."""
        alice = logged.new_actor("alice")
        pair = logged.grant("alice")
        odd = {"username": 5, "email": PASSWORD, "password": PASSWORD, "current_password": PASSWORD}
        broken = f'{{"password": "{PASSWORD}", '.encode()
        Request(logged, "POST", "/users", logged.admin, json=odd)
        Request(logged, "PUT", "/users/me", alice, json=odd)
        Request(logged, "PATCH", "/users/me", alice, content=broken, headers={"Content-Type": "application/json"})
        Request(logged, "POST", "/token", data={"username": "alice", "password": NEW_PASSWORD})
        for _ in range(6):  # in the wrong field, until it is throttled
            Request(logged, "POST", "/token", data={"username": PASSWORD, "password": "alice"})
        Request(logged, "POST", "/token", json={"username": "alice", "password": PASSWORD})
        Request(logged, "GET", f"/users?after={pair['access_token']}&token={pair['access_token']}", logged.admin)
        Request(logged, "GET", f"/users/{pair['access_token']}", logged.admin)
        Request(logged, "GET", f"/{PASSWORD}", logged.admin)
        for token in (pair["refresh_token"], pair["access_token"], f"{pair['refresh_token']}x"):
            refresh(logged, token)
        Request(logged, "POST", "/revoke", data={"token": pair["refresh_token"]})
        Request(logged, "GET", "/users/me", Actor(logged, {}, pair["access_token"]))
        text = logged.server.text
        assert not SECRET.search(text)
        for secret in (PASSWORD, NEW_PASSWORD, ADMIN_PASSWORD, SECRET_KEY):
            assert secret not in text

    def test_unexpected_error_answers_500_in_the_common_shape_and_logs_no_secret(self, logged: Api) -> None:
        """S11."""
        alice = logged.new_user("alice")
        marker = secrets.token_hex(8)
        hashed = logged.sql("SELECT hashed_password FROM users WHERE username = 'alice'")[0][0]
        token = jwt.encode({"sub": "1"}, SECRET_KEY, "HS256")
        # No date: reading it fails in a way that nobody has foreseen, and the error repeats it.
        logged.sql("UPDATE users SET created_at = :junk WHERE username = 'alice'", junk=f"{marker} {hashed} {token} ''")
        logged.http.event_hooks = {}  # no document promises a 500
        done = Request(logged, "GET", f"/users/{alice['id']}", logged.admin)
        assert done.answer.status_code == 500
        assert done.answer.json() == {"detail": "Internal server error", "code": "internal_error"}
        assert done.answer.headers["X-Request-ID"] == done.id
        assert done.answer.headers["Cache-Control"] == "no-store"
        assert done.answer.headers["X-Content-Type-Options"] == "nosniff"
        assert str(done.line["status"]) == "500"
        (error,) = (line for line in done.lines if line["level"] == "ERROR")
        assert error["logger"] == "userapi.requests"
        text = logged.server.text
        assert "Traceback" in text
        assert marker in text, "the traceback did not repeat the value: nothing was tried"
        assert "[secret]" in text
        assert not SECRET.search(text)
        assert hashed not in text
        assert logged.admin.get("/users/me").status_code == 200
