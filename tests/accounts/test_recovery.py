"""Who forgot a password gets back in, and nobody else does."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from tests.accounts.conftest import Accounts
from tests.support.answers import assert_invalid, assert_refused
from tests.support.crowd import Call
from tests.support.databases import ON_SQLITE
from tests.support.events import events
from tests.support.insides import OneTimeCode, now
from tests.support.mail import text_of
from tests.support.people import NEW_PASSWORD, PASSWORD, WRONG_PASSWORD
from tests.support.users import deleted_meanwhile

WRONG = "BBBB-BBBB"


def asked(accounts: Accounts, name: str, login: str = "", count: int = 1) -> tuple[str, str]:
    """The token and the code that came for whoever asked."""
    answer = accounts.post("/password/forgot", login=login or name)
    assert answer.status_code == 202
    address = f"{name}@example.com"
    return accounts.token(address, "reset", count), accounts.code(address, "reset", count)


def forget_limits(accounts: Accounts) -> None:
    accounts.api.sql("DELETE FROM outbox")


class TestForgot:
    def test_answers_alike_whoever_is_meant(self, off: Accounts, name: str) -> None:
        """S7: unknown, known, inactive, asked a minute ago, not printable; by name and by address."""
        off.api.new_user(name)
        idle = off.api.new_user(f"i{name}")
        off.api.admin.patch(f"/users/{idle['id']}", json={"is_active": False})
        logins = ["nobody", "no@example.com", name, name, f"{name}@example.com", f"i{name}", "\0", "x" * 200]
        answers = [off.post("/password/forgot", login=login) for login in logins]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert len(off.mails(f"{name}@example.com", "reset")) == 1
        waiting = "SELECT count(*) FROM outbox WHERE kind = 'reset_password' AND recipient IS NOT NULL"
        assert off.api.sql(waiting) == [(1,)]

    def test_of_a_user_who_is_deleted_meanwhile_is_that_of_nobody(self, off: Accounts, name: str) -> None:
        """S12."""
        user_id = off.verified(name)["id"]
        reply = deleted_meanwhile(off.api, user_id, Call("POST", "/password/forgot", json={"login": name}))
        assert (reply.status, reply.body) == (202, off.post("/password/forgot", login=f"x{name}").json())

    def test_that_a_mail_was_asked_for_is_an_event_whoever_is_meant(self, off: Accounts, name: str) -> None:
        """S7: the event of nobody costs the database the same."""
        user_id = off.api.new_user(name)["id"]
        for login in (name, "nobody"):
            assert off.post("/password/forgot", login=login).status_code == 202
        nobodys, users = events(off.api.admin, name="mail_queued")
        assert (users["user_id"], users["details"]) == (user_id, {"kind": "reset_password"})
        assert (nobodys["user_id"], nobodys["details"]) == (None, {"kind": "reset_password", "nobody": True})
        assert users["address"] == nobodys["address"] == "127.0.0.1"

    @ON_SQLITE
    @pytest.mark.parametrize("body", [{}, {"login": ""}, {"login": None}, {"login": "x" * 255}, {"login": 5}])
    def test_without_a_login_is_invalid(self, off: Accounts, body: Any) -> None:
        assert_invalid(off.http.post("/password/forgot", json=body), "login")

    @ON_SQLITE
    def test_mails_that_an_address_asks_for_are_limited(self, off: Accounts, name: str) -> None:
        """20 an hour, and the answer does not tell."""
        names = [f"{name}{number}" for number in range(22)]
        rows = [off.api.new_user(one)["id"] for one in names]
        assert len(rows) == 22
        for one in names:
            answer = off.http.post("/password/forgot", json={"login": one}, headers={"X-Forwarded-For": "203.0.113.9"})
            assert answer.status_code == 202
        assert off.api.sql("SELECT count(*) FROM outbox WHERE kind = 'reset_password'") == [(20,)]
        off.api.sql("DELETE FROM mail_clients")


class TestReset:
    @pytest.mark.parametrize("by", ["token", "code", "code and address"])
    def test_sets_the_password_once_ends_sessions_and_tells_the_owner(self, off: Accounts, name: str, by: str) -> None:
        actor = off.api.new_actor(name)
        token, code = asked(off, name)
        login = f"{name.upper()}@example.com" if by == "code and address" else name
        proof = {"token": token} if by == "token" else {"login": login, "code": code.lower().replace("-", " ")}
        answer = off.post("/password/reset", **proof, new_password=NEW_PASSWORD)
        assert (answer.status_code, answer.content) == (204, b"")
        assert_refused(actor.get("/users/me"), "session_ended")
        assert_refused(off.login(name, PASSWORD), "invalid_credentials")
        assert off.login(name, NEW_PASSWORD).status_code == 200
        assert "password" in off.mails(f"{name}@example.com", "forgot")[-1]["Subject"]
        for again in ({"token": token}, {"login": name, "code": code}):
            assert_refused(off.post("/password/reset", **again, new_password=PASSWORD), "invalid_code")
        assert off.api.log_in(name, NEW_PASSWORD).user["email_verified_at"]

    def test_of_forty_at_once_one_sets_it(self, off: Accounts, name: str) -> None:
        off.api.new_user(name)
        token, code = asked(off, name)
        proofs = [{"token": token}, {"login": name, "code": code}] * 20

        def reset(proof: dict[str, str]) -> int:
            status: int = off.post("/password/reset", **proof, new_password=NEW_PASSWORD).status_code
            return status

        with ThreadPoolExecutor(40) as pool:
            statuses = list(pool.map(reset, proofs))
        assert statuses.count(204) == 1
        assert set(statuses) <= {204, 400, 503}

    def test_five_wrong_codes_end_it(self, off: Accounts, name: str) -> None:
        """S7: also for the link; of 20^8 codes five can be tried."""
        off.api.new_user(name)
        token, code = asked(off, name)
        for _ in range(5):
            answer = off.post("/password/reset", login=name, code=WRONG, new_password=NEW_PASSWORD)
            assert_refused(answer, "invalid_code")
        assert_refused(off.post("/password/reset", login=name, code=code, new_password=NEW_PASSWORD), "invalid_code")
        assert_refused(off.post("/password/reset", token=token, new_password=NEW_PASSWORD), "invalid_code")

    @pytest.mark.parametrize("event", ["newer", "password", "email", "late", "inactive"])
    def test_is_ended(self, off: Accounts, name: str, event: str) -> None:
        actor = off.api.new_actor(name)
        token, code = asked(off, name)
        if event == "newer":
            forget_limits(off)
            off.post("/password/forgot", login=name)
            off.mails(f"{name}@example.com", "reset", 2)
        elif event == "late":
            off.api.execute(sa.update(OneTimeCode).values(expires_at=now()))
        elif event == "inactive":
            off.api.admin.patch(actor.path, json={"is_active": False})
        else:
            value = {"password": "Third-Bridle-6", "email": f"other{name}@example.com"}[event]
            changed = actor.patch("/users/me", json={event: value, "current_password": PASSWORD})
            assert changed.status_code == 200
        for proof in ({"token": token}, {"login": name, "code": code}):
            assert_refused(off.post("/password/reset", **proof, new_password=NEW_PASSWORD), "invalid_code")

    @ON_SQLITE
    @pytest.mark.parametrize("by", ["token", "code"])
    def test_obeys_the_rules_of_passwords_and_keeps_the_code(self, off: Accounts, name: str, by: str) -> None:
        off.api.new_user(name)
        token, code = asked(off, name)
        proof = {"token": token} if by == "token" else {"login": f"{name}@example.com", "code": code}
        for weak in ("short", "password1", "Password1!", "nodigitsHere", f"Zk4-{name}-X"):
            answer = off.post("/password/reset", **proof, new_password=weak)
            assert answer.status_code == 422, weak
            assert answer.json()["detail"][0]["loc"][:2] in (["body", "new_password"], ["body", "password"])
            assert answer.json().get("field", "new_password") == answer.json()["errors"][0]["field"] == "new_password"
            assert f'"{weak}"' not in answer.text
        assert off.post("/password/reset", **proof, new_password=NEW_PASSWORD).status_code == 204

    @ON_SQLITE
    @pytest.mark.parametrize(
        "proof", [{}, {"token": ""}, {"login": "alice"}, {"code": WRONG}, {"token": None, "login": "alice"}]
    )
    def test_without_a_proof_is_invalid(self, off: Accounts, proof: dict[str, Any]) -> None:
        assert_invalid(off.post("/password/reset", **proof, new_password=NEW_PASSWORD))

    def test_code_of_nobody_and_of_who_has_none_are_alike(self, off: Accounts, name: str) -> None:
        """S7."""
        off.api.new_user(name)
        answers = [
            off.post("/password/reset", login=login, code=WRONG, new_password=NEW_PASSWORD)
            for login in (name, "nobody", "no@example.com", "\0")
        ]
        assert len({(answer.status_code, answer.text) for answer in answers}) == 1

    def test_lifts_the_lock_of_the_account(self, off: Accounts, name: str) -> None:
        off.api.new_user(name)
        for _ in range(5):
            off.login(name, WRONG_PASSWORD)
        assert_refused(off.login(name), "too_many_attempts")
        token, _ = asked(off, name)
        assert off.post("/password/reset", token=token, new_password=NEW_PASSWORD).status_code == 204
        assert off.login(name, NEW_PASSWORD).status_code == 200

    @ON_SQLITE
    def test_guesses_of_an_address_are_throttled(self, off: Accounts, name: str) -> None:
        """S7: whatever accounts they are for; the operator can unlock it."""
        off.api.new_user(name)
        token, _ = asked(off, name)
        stranger = {"X-Forwarded-For": f"198.51.100.{int(name[1:3], 16)}"}
        body = {"login": "nobody", "code": WRONG, "new_password": NEW_PASSWORD}
        for _ in range(100):
            assert off.http.post("/email/verify", json=body, headers=stranger).status_code == 400
        for path in ("/email/verify", "/password/reset", "/invitation/accept"):
            assert_refused(off.http.post(path, json=body, headers=stranger), "too_many_attempts")
        assert off.post("/password/reset", token=token, new_password=NEW_PASSWORD).status_code == 204

    @ON_SQLITE
    def test_logs_nobody_in(self, off: Accounts, name: str) -> None:
        off.api.new_user(name)
        token, _ = asked(off, name)
        off.post("/password/reset", token=token, new_password=NEW_PASSWORD)
        sessions = "SELECT count(*) FROM login_sessions s JOIN users u ON u.id = s.user_id WHERE username = :name"
        assert off.api.sql(sessions, name=name) == [(0,)]


class TestMail:
    @ON_SQLITE
    def test_speaks_the_users_language_and_says_what_to_do(self, off: Accounts, name: str) -> None:
        off.api.new_user(name, locale="de-AT")
        asked(off, name)
        [mail] = off.mails(f"{name}@example.com", "reset")
        assert mail["Subject"] == "Neues Passwort setzen"
        assert "30 Minuten" in text_of(mail)
        assert "30 Minuten" in text_of(mail, "html")

    def test_unverified_address_is_one_too(self, on: Accounts, name: str) -> None:
        on.register(name)
        token, _ = asked(on, name)
        assert on.post("/password/reset", token=token, new_password=NEW_PASSWORD).status_code == 204
        verified = on.api.sql("SELECT email_key FROM users WHERE username = :name", name=name)
        assert verified == [(f"{name}@example.com",)]
