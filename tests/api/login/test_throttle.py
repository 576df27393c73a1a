"""The login throttle: whom it locks."""

import ipaddress
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.crowd import at_once
from tests.support.databases import ON_SQLITE
from tests.support.people import ADMIN_PASSWORD, PASSWORD, WRONG_PASSWORD
from tests.support.servers import Shared
from tests.support.throttle import SLOTS, assert_locked, log_in, login_call, throttled, wrong_at_once


@pytest.fixture
def guarded(shared: Shared, kind: str) -> Iterator[Api]:
    """As `api`, of a service with a throttle: each test comes from another address and tries other names."""
    settings = {"THROTTLE_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1", "BCRYPT_ROUNDS": "6"}
    with client_of(shared.service(kind, **settings)) as api:
        api.http.headers["X-Forwarded-For"] = str(ipaddress.IPv4Address(secrets.randbits(31)))
        yield api


@pytest.fixture
def name() -> str:
    """A name that no other test has tried."""
    return f"u{secrets.token_hex(6)}"


class TestLogin:
    """S6, S7."""

    def test_of_many_wrong_passwords_at_once_few_are_checked(self, guarded: Api, name: str) -> None:
        """S6."""
        guarded.new_user(name)
        for username in (name, f"{name}x"):  # S7: known or not
            checked, refused = wrong_at_once(guarded, username)
            assert 5 <= len(checked) < 5 + SLOTS
            assert len(checked) + len(refused) == 50
        right = log_in(guarded, name)
        assert_locked(right, 900)
        assert right.json() == refused[0].body
        guarded.new_actor("bob")  # others are not locked

    def test_of_many_right_passwords_at_once_all_pass(self, guarded: Api, name: str) -> None:
        """S6: also right before the lock."""
        guarded.new_user(name)
        for _ in range(4):
            assert_refused(log_in(guarded, name, WRONG_PASSWORD), "invalid_credentials")
        calls = [login_call(guarded, name)] * 30
        assert {reply.status for reply in at_once(guarded.server, calls)} == {200}

    def test_success_clears_the_count(self, guarded: Api, name: str) -> None:
        guarded.new_user(name)
        for _ in range(3):
            for _ in range(4):
                assert_refused(log_in(guarded, name, WRONG_PASSWORD), "invalid_credentials")
            assert log_in(guarded, name).status_code == 200

    def test_unknown_and_inactive_are_locked_like_any(self, guarded: Api, name: str) -> None:
        """S7."""
        for username in (name, f"{name}s"):
            guarded.new_user(username)
        guarded.sql("UPDATE users SET is_active = false WHERE username = :name", name=f"{name}s")
        answers = []
        for username, password in ((name, WRONG_PASSWORD), (f"{name}x", PASSWORD), (f"{name}s", PASSWORD)):
            answers.append([log_in(guarded, username, password) for _ in range(6)])
        statuses = [[answer.status_code for answer in each] for each in answers]
        assert statuses == [[401] * 5 + [429]] * 3
        assert len({each[-1].content for each in answers}) == 1

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_current_password_counts_too(self, guarded: Api, name: str, method: str) -> None:
        """S6, S15: a stolen token is no way to guess the password."""
        alice = guarded.new_actor(name)

        def change(password: str) -> Any:
            body = {"password": "Other-Saddle-8", "current_password": password}
            return alice.request(method, "/users/me", json=body)

        for _ in range(5):
            assert_refused(change(WRONG_PASSWORD), "current_password_incorrect")
        assert_locked(change(PASSWORD))
        assert_locked(log_in(guarded, name))
        assert alice.get("/users/me").status_code == 200
        assert alice.patch("/users/me", json={"age": 9}).status_code == 200  # what needs no password

    def test_wrong_logins_lock_current_password(self, guarded: Api, name: str) -> None:
        """S6."""
        alice = guarded.new_actor(name)
        for _ in range(5):
            log_in(guarded, name, WRONG_PASSWORD)
        body = {"email": "new@example.com", "current_password": PASSWORD}
        assert_locked(alice.patch("/users/me", json=body))

    @ON_SQLITE
    def test_refreshing_goes_on(self, guarded: Api, name: str) -> None:
        """Whoever is logged in stays so, whatever strangers try."""
        guarded.new_user(name)
        pair = guarded.grant(name)
        for _ in range(5):
            log_in(guarded, name, WRONG_PASSWORD)
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        assert guarded.http.post("/token", data=form).status_code == 200

    @pytest.mark.parametrize("given", ["x" * 200, "é" * 40, "unknown", "1.2.3.4.5", "[::1]:80", ","])
    def test_any_forwarded_address_may_log_in(self, guarded: Api, given: str) -> None:
        """S12: a proxy may pass on what its client says."""
        form = {"username": "admin", "password": ADMIN_PASSWORD}
        headers = [(b"X-Forwarded-For", f"192.0.2.1, {given}".encode())]  # bytes, to send what is no ASCII
        assert guarded.http.post("/token", data=form, headers=headers).status_code == 200

    @ON_SQLITE
    def test_address_is_locked_after_100_failures_whoever_it_tries(self, url: str) -> None:
        """S6."""
        with throttled(url, BCRYPT_ROUNDS="4") as api:
            statuses = [log_in(api, f"user{number // 4}", WRONG_PASSWORD).status_code for number in range(100)]
            assert statuses == [401] * 100
            assert_locked(log_in(api, "admin", ADMIN_PASSWORD), 900)
            assert api.admin.get("/users/me").status_code == 200

    @ON_SQLITE
    def test_can_be_turned_off(self, url: str) -> None:
        with throttled(url, BCRYPT_ROUNDS="4", THROTTLE_ENABLED="false") as api:
            assert {log_in(api, "alice", WRONG_PASSWORD).status_code for _ in range(110)} == {401}
