"""The signing keys: one signs, all verify, and one that is taken out verifies no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, sqlite_path
from tests.support.logins import Pair, claims_of, refresh
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.processes import refused_to_start
from tests.support.servers import Server, serving

pytestmark = ON_SQLITE  # a database has no part in it


OLD, NEW = "0f" * 32, "1e" * 32


@contextmanager
def signing_with(url: str, keys: str) -> Iterator[Server]:
    with serving(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD, SECRET_KEY=keys) as server:
        yield server


def log_in(server: Server) -> Pair:
    with server.client() as http:
        answer = http.post("/token", data={"username": "admin", "password": ADMIN_PASSWORD})
        assert answer.status_code == 200, answer.text
        pair: Pair = answer.json()
        return pair


def works(server: Server, pair: Pair) -> tuple[bool, bool]:
    """Whether the access token and the refresh token serve."""
    with server.client() as http:
        used = http.get("/users/me", headers=bearer(pair["access_token"]))
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        renewed = http.post("/token", data=form)
        assert used.status_code in {200, 401}
        assert renewed.status_code in {200, 400}
        return used.status_code == 200, renewed.status_code == 200


def signed_with(token: str, key: str) -> bool:
    try:
        jwt.decode(token, key, ["HS256"], options={"verify_aud": False})
    except jwt.InvalidSignatureError:
        return False
    return True


@pytest.mark.slow
def test_key_is_rotated_without_logging_anybody_out(url: str) -> None:
    """S9."""
    with signing_with(url, OLD) as server:
        before = log_in(server)
    assert signed_with(before["access_token"], OLD)
    with signing_with(url, f"{NEW},{OLD}") as server:
        assert works(server, before) == (True, True)
        after = log_in(server)
        for token in (after["access_token"], after["refresh_token"]):
            assert signed_with(token, NEW)
            assert not signed_with(token, OLD)
    with signing_with(url, NEW) as server:
        assert works(server, before) == (False, False)
        assert works(server, after) == (True, True)


def test_key_file_takes_a_list_too(url: str) -> None:
    with serving(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD, SECRET_KEY="") as server:
        before = log_in(server)
    file = sqlite_path(url).with_name("users.db.secret_key")
    old = file.read_text().strip()
    assert signed_with(before["access_token"], old)
    file.write_text(f"{NEW}\n{old}\n")
    with serving(url, SECRET_KEY="") as server:
        assert works(server, before) == (True, True)
        assert signed_with(log_in(server)["access_token"], NEW)


def test_users_in_memory_need_none(kind: str) -> None:
    with signing_with("sqlite://", "") as server:
        assert works(server, log_in(server)) == (True, True)


def test_other_keys_verify_nothing(api: Api) -> None:
    """S9: a list is no less strict."""
    claims: dict[str, Any] = claims_of(api.admin.token)
    for key in (OLD, NEW):
        assert_refused(api.http.get("/users/me", headers=bearer(jwt.encode(claims, key, "HS256"))), "invalid_token")
    assert_refused(refresh(api, jwt.encode(claims | {"aud": "userapi:refresh"}, NEW, "HS256")), "invalid_grant")


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (f"{NEW},short", "shorter than 32 bytes"),
        (f"short,{NEW}", "shorter than 32 bytes"),
        (f"{NEW},{'change-me' * 9}", "placeholder"),
        ("x" * 31, "shorter than 32 bytes"),
        (",", "32"),
        (" , ,", "32"),
    ],
)
def test_every_key_of_a_list_must_be_strong(empty_url: str, keys: str, why: str) -> None:
    """S10."""
    refused = refused_to_start(command("serve", url=empty_url, SECRET_KEY=keys))
    assert refused.startswith("SECRET_KEY: ")
    assert why in refused
    assert NEW not in refused
