"""The login throttle: whom it locks."""

import ipaddress
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api, client_of
from tests.support.crowd import Call, at_once
from tests.support.databases import ON_SQLITE
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD, WRONG_PASSWORD
from tests.support.servers import Shared
from tests.support.throttle import SLOTS, assert_locked, log_in, login_call, throttled, wrong_at_once
from tests.support.users import deleted_meanwhile


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
        calls = [login_call(guarded, name)] * 12
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
    def test_current_password_has_ten_guesses_whatever_the_name_or_address(
        self, guarded: Api, name: str, method: str
    ) -> None:
        """S15, S23: a stolen token is no way to guess the password."""
        alice = guarded.new_actor(name)

        def change(password: str, new: str = "Other-Saddle-8") -> Any:
            body = {"password": new, "current_password": password}
            return alice.request(method, "/users/me", json=body)

        for number in range(40):
            answer = change(WRONG_PASSWORD)
            if number < 10:
                assert_refused(answer, "current_password_incorrect")
            else:
                assert_locked(answer, 900)
            guarded.http.headers["X-Forwarded-For"] = f"192.0.2.{number}"
            assert alice.patch("/users/me", json={"username": f"{name}{number}"}).status_code == 200
        assert_locked(change(PASSWORD), 900)
        assert_locked(change(PASSWORD, "alllowercase"), 900)  # and that alone is told
        assert log_in(guarded, f"{name}39").status_code == 200  # elsewhere
        assert_locked(change(PASSWORD), 900)
        guarded.sql("UPDATE password_guesses SET locked_until = NULL WHERE user_id = :id", id=alice.id)
        assert change(PASSWORD).status_code == 200
        assert guarded.sql("SELECT * FROM password_guesses WHERE user_id = :id", id=alice.id) == []

    def test_wrong_logins_do_not_hinder_current_password(self, guarded: Api, name: str) -> None:
        """S23, S30: and the other way round, above."""
        alice = guarded.new_actor(name)
        guarded.http.headers["X-Forwarded-For"] = str(ipaddress.IPv4Address(secrets.randbits(31)))
        for _ in range(5):
            log_in(guarded, name, WRONG_PASSWORD)
        assert_locked(log_in(guarded, name))
        body = {"email": f"{name}@example.org", "current_password": PASSWORD}
        assert alice.patch("/users/me", json=body).status_code == 200

    @pytest.mark.parametrize("current", [PASSWORD, "Wrong-Donkey-9"], ids=["right", "wrong"])
    def test_of_a_user_who_is_deleted_meanwhile_proves_nothing(self, guarded: Api, name: str, current: str) -> None:
        """S12."""
        alice = guarded.new_actor(name)
        body = {"password": NEW_PASSWORD, "current_password": current}
        reply = deleted_meanwhile(guarded, alice.id, Call("PATCH", "/users/me", alice.token, body))
        assert (reply.status, reply.body["code"]) == (401, "session_ended")

    def test_parallel_guesses_of_the_current_password_are_no_more_than_ten(self, guarded: Api, name: str) -> None:
        """S23."""
        alice = guarded.new_actor(name)
        body = {"password": "Other-Saddle-8", "current_password": WRONG_PASSWORD}
        replies = at_once(guarded.server, [Call("PATCH", "/users/me", alice.token, json=body)] * 40)
        assert Counter(reply.status for reply in replies) == {400: 10, 429: 30}

    def test_known_device_gets_in_while_strangers_are_locked(self, guarded: Api, name: str) -> None:
        """S30: by address and user agent, even after it has logged out; it has failures of its own, and an end."""
        guarded.new_user(name)
        home, away = ({"X-Forwarded-For": f"2001:db8:{secrets.randbits(16):x}:{part}::1"} for part in (1, 2))

        def attempt(headers: dict[str, str], password: str = PASSWORD) -> Any:
            return guarded.http.post("/token", data={"username": name, "password": password}, headers=headers)

        token = attempt(home).json()["refresh_token"]
        assert guarded.http.post("/revoke", data={"token": token}).status_code == 200
        for _ in range(5):
            assert_refused(attempt(away, WRONG_PASSWORD), "invalid_credentials")
        refused = attempt(away)
        assert_locked(refused)
        for _ in range(5):
            assert_refused(attempt(home, WRONG_PASSWORD), "invalid_credentials")
        assert attempt(home).content == refused.content
        assert_locked(attempt({**home, "User-Agent": "other"}))

    def test_known_device_that_logs_in_forgives_all(self, guarded: Api, name: str) -> None:
        """S30."""
        guarded.new_user(name)
        home, away = ({"X-Forwarded-For": f"2001:db8:{secrets.randbits(16):x}:{part}::1"} for part in (1, 2))
        form = {"username": name, "password": PASSWORD}
        assert guarded.http.post("/token", data=form, headers=home).status_code == 200
        for _ in range(5):
            guarded.http.post("/token", data={**form, "password": WRONG_PASSWORD}, headers=away)
        assert_locked(guarded.http.post("/token", data=form, headers=away))
        assert guarded.http.post("/token", data=form, headers=home).status_code == 200
        assert guarded.http.post("/token", data=form, headers=away).status_code == 200

    def test_username_and_email_share_one_budget(self, guarded: Api, name: str) -> None:
        """S30: and nothing tells that they do: names of nobody are locked after as many."""
        guarded.new_user(name)
        for login in (name, f"{name}@example.com", name.upper(), f"{name}@EXAMPLE.com", name):
            assert_refused(log_in(guarded, login, WRONG_PASSWORD), "invalid_credentials")
        assert_locked(log_in(guarded, f"{name}@example.com"))
        assert_locked(log_in(guarded, name))

    def test_odd_addresses_are_not_kept(self, guarded: Api, name: str) -> None:
        """S29."""
        guarded.new_user(name)
        given = {"unknown": None, "::ffff:192.0.2.7": "192.0.2.7", "64:ff9b::c000:207": "192.0.2.7", "x" * 60: None}
        for forwarded in given:
            headers = {"X-Forwarded-For": forwarded}
            form = {"username": name, "password": PASSWORD}
            assert guarded.http.post("/token", data=form, headers=headers).status_code == 200
        rows = guarded.sql(
            "SELECT s.ip FROM login_sessions s JOIN users u ON u.id = s.user_id WHERE u.username = :name ORDER BY s.id",
            name=name,
        )
        assert [row[0] for row in rows] == list(given.values())

    @ON_SQLITE
    def test_130_failures_of_a_mapped_address_lock_it_and_no_other(self, url: str) -> None:
        """S29: nor the proxy that names no client, nor loopback."""
        with throttled(url, BCRYPT_ROUNDS="4", FORWARDED_ALLOW_IPS="127.0.0.1") as api:
            for number in range(130):
                api.http.headers["X-Forwarded-For"] = ["::ffff:192.0.2.9", "2002:c000:0209::1", "192.0.2.9"][number % 3]
                answer = log_in(api, f"user{number}", WRONG_PASSWORD)
                assert answer.status_code == (401 if number < 100 else 429)
            api.http.headers["X-Forwarded-For"] = "::ffff:192.0.2.10"
            assert log_in(api, "admin", ADMIN_PASSWORD).status_code == 200
            del api.http.headers["X-Forwarded-For"]
            assert {log_in(api, f"none{number}", WRONG_PASSWORD).status_code for number in range(110)} == {401}

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
        with throttled(url, BCRYPT_ROUNDS="4", FORWARDED_ALLOW_IPS="127.0.0.1") as api:
            api.http.headers["X-Forwarded-For"] = "192.0.2.1"
            statuses = [log_in(api, f"user{number // 4}", WRONG_PASSWORD).status_code for number in range(100)]
            assert statuses == [401] * 100
            assert_locked(log_in(api, "admin", ADMIN_PASSWORD), 900)
            assert api.admin.get("/users/me").status_code == 200

    @ON_SQLITE
    def test_can_be_turned_off(self, url: str) -> None:
        with throttled(url, BCRYPT_ROUNDS="4", THROTTLE_ENABLED="false") as api:
            assert {log_in(api, "alice", WRONG_PASSWORD).status_code for _ in range(110)} == {401}
