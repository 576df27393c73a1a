"""An address counts once somebody has shown to read its mail; a change of it can be undone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Any

import pytest

from tests.accounts.conftest import Accounts, token_in
from tests.support.answers import assert_refused
from tests.support.crowd import Call
from tests.support.databases import ON_SQLITE
from tests.support.mail import code_in, text_of
from tests.support.people import NEW_PASSWORD, PASSWORD, WRONG_PASSWORD
from tests.support.processes import wait_until
from tests.support.users import changed_meanwhile, deleted_meanwhile

WRONG = "BBBB-BBBB"


def change(accounts: Accounts, actor: Any, email: str) -> dict[str, Any]:
    answer = actor.patch("/users/me", json={"email": email, "current_password": PASSWORD})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class TestVerify:
    @pytest.mark.parametrize("by", ["token", "username", "address"])
    def test_what_registration_sends_verifies_once(self, on: Accounts, name: str, by: str) -> None:
        address = f"{name}@example.com"
        made = on.register(name)
        assert (made.status_code, made.json()["email_verified_at"]) == (201, None)
        token, code = on.token(address, "verify"), on.code(address, "verify")
        proof = {"token": token} if by == "token" else {"login": name if by == "username" else address, "code": code}
        actor = on.api.log_in(name)
        answer = on.post("/email/verify", **proof)
        assert (answer.status_code, answer.content) == (204, b"")
        assert on.me(actor)["email_verified_at"] is not None
        assert on.me(actor)["email"] == address
        assert_refused(on.post("/email/verify", **proof), "invalid_code")
        assert on.login(address).status_code == 200

    def test_asked_for_again_ends_the_one_before(self, on: Accounts, name: str) -> None:
        address = f"{name}@example.com"
        on.register(name)
        before = on.token(address, "verify")
        actor = on.api.log_in(name)
        assert actor.post("/email/verify/request").status_code == 202
        assert on.post("/email/verify", token="x").status_code == 400
        on.api.sql("DELETE FROM outbox")  # and with it the limit of 2 minutes
        assert actor.post("/email/verify/request").status_code == 202
        token = on.token(address, "verify", 2)
        assert_refused(on.post("/email/verify", token=before), "invalid_code")
        assert on.post("/email/verify", token=token).status_code == 204
        assert actor.post("/email/verify/request").status_code == 202  # and there is nothing to send
        assert on.api.sql("SELECT count(*) FROM one_time_codes WHERE user_id = :id", id=actor.id) == [(0,)]

    def test_five_wrong_codes_end_it(self, on: Accounts, name: str) -> None:
        """S7."""
        on.register(name)
        code = on.code(f"{name}@example.com", "verify")
        for _ in range(5):
            assert_refused(on.post("/email/verify", login=name, code=WRONG), "invalid_code")
        assert_refused(on.post("/email/verify", login=name, code=code), "invalid_code")

    @ON_SQLITE
    def test_of_a_user_who_is_deleted_meanwhile_is_refused(self, on: Accounts, name: str) -> None:
        """S12."""
        assert on.register(name).status_code == 201
        actor = on.api.log_in(name)
        reply = deleted_meanwhile(on.api, actor.id, Call("POST", "/email/verify/request", actor.token))
        assert (reply.status, reply.body["code"]) == (401, "session_ended")

    def test_needs_no_setting_for_ones_own(self, off: Accounts, name: str) -> None:
        actor = off.api.new_actor(name)
        assert actor.user["email_verified_at"] is None
        assert actor.post("/email/verify/request").status_code == 202
        assert off.post("/email/verify", token=off.token(f"{name}@example.com", "verify")).status_code == 204
        assert off.me(actor)["email_verified_at"]
        moved = change(off, actor, f"new{name}@example.com")
        assert (moved["email"], moved["email_verified_at"]) == (f"new{name}@example.com", None)


class TestRequired:
    def test_login_is_told_only_with_the_right_password(self, required: Accounts, name: str) -> None:
        """S7."""
        assert required.register(name).status_code == 202
        address = f"{name}@example.com"
        for login in (name, address):
            assert_refused(required.login(login, WRONG_PASSWORD), "invalid_credentials")
            refused = required.login(login)
            assert_refused(refused, "email_not_verified")
            assert refused.json()["error"] == "invalid_grant"
        token = required.token(address, "verify")
        assert required.post("/email/verify", token=token).status_code == 204
        assert required.login(address).status_code == 200

    @pytest.mark.parametrize("verified", [True, False, None])
    def test_user_of_an_admin_counts_as_that_one_says(self, required: Accounts, name: str, verified: Any) -> None:
        user = required.api.new_user(name, email_verified=verified)
        assert (user["email_verified_at"] is not None) == bool(verified)
        assert required.login(name).status_code == (200 if verified else 400)
        if not verified:
            assert required.post("/email/verify", token=required.token(user["email"], "verify")).status_code == 204
            assert required.login(name).status_code == 200

    def test_forgotten_password_is_a_way_in(self, required: Accounts, name: str) -> None:
        required.register(name)
        required.post("/password/forgot", login=name)
        token = required.token(f"{name}@example.com", "reset")
        assert required.post("/password/reset", token=token, new_password=NEW_PASSWORD).status_code == 204
        assert required.login(name, NEW_PASSWORD).status_code == 200


class TestChange:
    """A new address waits until its code comes back; the old one may undo that."""

    def test_waits_and_is_seen_by_self_and_admins(self, on: Accounts, name: str) -> None:
        on.verified(name)
        actor, new = on.api.log_in(name), f"new{name}@example.com"
        waiting = change(on, actor, new)
        assert (waiting["email"], waiting["pending_email"]) == (f"{name}@example.com", new)
        assert waiting["email_verified_at"] is not None
        assert on.api.admin.get(actor.path).json() == on.me(actor) == waiting
        assert actor.put("/users/me", json=waiting).json() == waiting  # an object put back changes nothing
        assert on.login(new).status_code == 401
        assert on.post("/email/verify", login=name, code=on.code(new, "verify")).status_code == 204
        moved = on.me(actor)
        assert (moved["email"], moved["pending_email"]) == (new, None)
        assert moved["email_verified_at"] > waiting["email_verified_at"]
        assert on.login(new).status_code == 200
        assert on.login(f"{name}@example.com").status_code == 401
        wait_until(lambda: [mail for mail in on.postbox.mails if mail["To"] == new and "changed" in mail["Subject"]])

    @pytest.mark.parametrize("confirmed", [False, True])
    def test_is_undone_by_the_old_address(self, on: Accounts, name: str, confirmed: bool) -> None:
        on.verified(name)
        old, new = f"{name}@example.com", f"new{name}@example.com"
        actor = on.api.log_in(name)
        change(on, actor, new)
        verify, undo = on.token(new, "verify"), on.token(old, "undo")
        if confirmed:
            assert on.post("/email/verify", token=verify).status_code == 204
            on.post("/password/forgot", login=name)
            reset = on.token(new, "reset")
        assert on.post("/email/undo", token=undo).status_code == 204
        assert_refused(actor.get("/users/me"), "session_ended")
        again = on.api.log_in(name)
        assert (again.user["email"], again.user["pending_email"]) == (old, None)
        assert_refused(on.post("/email/verify", token=verify), "invalid_code")
        assert_refused(on.post("/email/undo", token=undo), "invalid_code")
        if confirmed:
            assert_refused(on.post("/password/reset", token=reset, new_password=NEW_PASSWORD), "invalid_code")

    def test_undo_outlives_further_changes_and_ends_theirs(self, on: Accounts, name: str) -> None:
        """Whoever took the account cannot shake off the owner, nor undo what the owner has undone."""
        on.verified(name)
        first, second, third = (f"{letter}{name}@example.com" for letter in ("", "b", "c"))
        actor = on.api.log_in(name)
        change(on, actor, second)
        owner = on.token(first, "undo")
        on.post("/email/verify", token=on.token(second, "verify"))
        on.api.sql("DELETE FROM outbox")
        change(on, actor, third)
        thief = on.token(second, "undo")
        on.post("/email/verify", token=on.token(third, "verify"))
        changed = actor.patch("/users/me", json={"password": NEW_PASSWORD, "current_password": PASSWORD})
        assert changed.status_code == 200
        assert on.post("/email/undo", token=owner).status_code == 204
        assert on.api.log_in(name, NEW_PASSWORD).user["email"] == first
        assert_refused(on.post("/email/undo", token=thief), "invalid_code")

    def test_new_password_ends_what_waits(self, on: Accounts, name: str) -> None:
        """Pre-hijacking, unexpired change of address: what waits does not outlive a new password or recovery."""
        on.verified(name)
        actor, new = on.api.log_in(name), f"new{name}@example.com"
        change(on, actor, new)
        token = on.token(new, "verify")
        on.post("/password/forgot", login=name)
        reset = on.token(f"{name}@example.com", "reset")
        assert on.post("/password/reset", token=reset, new_password=NEW_PASSWORD).status_code == 204
        assert_refused(on.post("/email/verify", token=token), "invalid_code")
        actor = on.api.log_in(name, NEW_PASSWORD)
        assert actor.user["pending_email"] is None
        assert actor.post("/email/verify/request").status_code == 202
        codes = "SELECT count(*) FROM one_time_codes WHERE user_id = :id AND purpose = 'change_email'"
        assert on.api.sql(codes, id=actor.id) == [(0,)]

    def test_address_verified_meanwhile_is_taken(self, on: Accounts, name: str) -> None:
        on.verified(name)
        actor, new = on.api.log_in(name), f"new{name}@example.com"
        change(on, actor, new)
        token = on.token(new, "verify")
        on.verified(f"n{name}", email=new)
        assert_refused(on.post("/email/verify", token=token), "email_taken")
        assert on.me(actor)["email"] == f"{name}@example.com"

    def test_of_an_admin_for_another_waits_too(self, on: Accounts, name: str) -> None:
        user = on.verified(name)
        answer = on.api.admin.patch(f"/users/{user['id']}", json={"email": f"new{name}@example.com"})
        assert (answer.json()["email"], answer.json()["pending_email"]) == (user["email"], f"new{name}@example.com")
        assert on.token(user["email"], "undo")

    @ON_SQLITE
    def test_letter_case_alone_does_not_wait(self, on: Accounts, name: str) -> None:
        user = on.verified(name)
        actor = on.api.log_in(name)
        moved = actor.patch("/users/me", json={"email": f"{name.upper()}@example.com"}).json()
        assert (moved["email"], moved["pending_email"]) == (f"{name.upper()}@example.com", None)
        assert moved["email_verified_at"] == user["email_verified_at"]


class TestPrehijacking:
    """An address is taken only by whoever verified it: what a stranger set up with it does not survive."""

    @pytest.mark.parametrize("mode", ["on", "required"])
    @pytest.mark.parametrize("by", ["token", "username", "address"])
    def test_owner_registers_in_spite_of_a_stranger(
        self, accounts_of: Callable[[str], Accounts], name: str, mode: str, by: str
    ) -> None:
        """Classic and unexpired session: password, session and username of the first are gone."""
        accounts = accounts_of(mode)
        address, stranger = f"{name}@example.com", f"s{name}"
        assert accounts.register(stranger, address).status_code in {201, 202}
        session = accounts.api.log_in(stranger) if mode == "on" else None
        accounts.mails(address, "verify")
        assert accounts.register(name, address, password=NEW_PASSWORD).status_code in {201, 202}
        token, code = accounts.token(address, "verify", 2), accounts.code(address, "verify", 2)
        proof = {"token": token} if by == "token" else {"login": name if by == "username" else address, "code": code}
        assert accounts.post("/email/verify", **proof).status_code == 204
        assert accounts.api.log_in(address, NEW_PASSWORD).user["username"] == name
        for login in (address, stranger):
            assert_refused(accounts.login(login, PASSWORD), "invalid_credentials")
        if session is not None:
            assert_refused(session.get("/users/me"), "session_ended")
        assert accounts.api.sql("SELECT count(*) FROM users WHERE email = :email", email=address) == [(1,)]

    def test_owner_recovers_the_account_of_a_stranger(self, on: Accounts, name: str) -> None:
        """Unexpired session, trojan identifier, unexpired change of address, known device."""
        address, other = f"{name}@example.com", f"thief{name}@example.com"
        on.register(name, address)
        stranger = on.api.log_in(name)
        on.api.sql("UPDATE users SET email_key = email WHERE username = :name", name=name)  # from before verification
        change(on, stranger, other)
        trojan = on.token(other, "verify")
        on.post("/password/forgot", login=address)
        answer = on.post("/password/reset", token=on.token(address, "reset"), new_password=NEW_PASSWORD)
        assert answer.status_code == 204
        assert_refused(stranger.get("/users/me"), "session_ended")
        assert_refused(on.login(name), "invalid_credentials")
        assert_refused(on.post("/email/verify", token=trojan), "invalid_code")
        assert on.api.sql("SELECT count(*) FROM known_devices WHERE user_id = :id", id=stranger.id) == [(0,)]
        owner = on.api.log_in(address, NEW_PASSWORD)
        assert (owner.user["email"], owner.user["pending_email"]) == (address, None)

    def test_verified_address_is_not_displaced(self, on: Accounts, name: str) -> None:
        user = on.verified(name)
        assert_refused(on.register(f"s{name}", user["email"]), "email_taken")
        assert on.login(user["email"]).status_code == 200

    def test_unverified_account_of_an_admin_gives_way_and_stays(self, on: Accounts, name: str) -> None:
        address = f"{name}@example.com"
        actor = on.api.new_actor(f"s{name}", email=address)
        on.mails(address, "verify")  # or that of the other may come after the next one
        assert on.register(name, address, password=NEW_PASSWORD).status_code == 201
        assert on.login(address, PASSWORD).status_code == 200  # it holds the address until then
        assert on.post("/email/verify", login=name, code=on.code(address, "verify", 2)).status_code == 204
        assert_refused(actor.get("/users/me"), "session_ended")
        assert on.api.log_in(address, NEW_PASSWORD).user["username"] == name
        assert on.login(f"s{name}", PASSWORD).status_code == 200

    def test_of_many_who_verify_at_once_one_has_it(self, on: Accounts, name: str) -> None:
        address, mails = self._claims(on, name, "abcdefgh")
        with ThreadPoolExecutor(len(mails)) as pool:
            statuses = list(
                pool.map(lambda mail: on.post("/email/verify", token=token_in(mail, "verify")).status_code, mails)
            )
        assert sorted(statuses) == [204] + [400] * 7
        assert on.api.sql("SELECT count(*) FROM users WHERE email_key = :key", key=address) == [(1,)]
        assert on.api.sql("SELECT count(*) FROM users WHERE email = :key", key=address) == [(1,)]

    @pytest.mark.parametrize("by", ["token", "code"])
    def test_who_waits_for_a_rival_holds_up_nobody(self, on: Accounts, name: str, by: str) -> None:
        """R11: all lock in the order of ids, or PostgreSQL would look for a deadlock a second later."""
        if on.api.kind == "sqlite":
            pytest.skip("SQLite has no locks of rows")
        address, mails = self._claims(on, name, "ab")
        first, last = (on.api.sql("SELECT id FROM users WHERE username = :name", name=f"{a}{name}")[0][0] for a in "ab")
        [mail] = [mail for mail in mails if f"b{name}" in text_of(mail)]
        typed = {"login": f"b{name}", "code": code_in(mail)}
        proof = typed if by == "code" else {"token": token_in(mail, "verify")}
        locked = "SELECT id FROM users WHERE id = :{} FOR UPDATE"
        verify = Call("POST", "/email/verify", json=proof)
        then = locked.format("last") + " NOWAIT"
        reply = changed_meanwhile(on.api, verify, locked.format("first"), then=then, first=first, last=last)
        assert reply.status == 204
        assert on.api.sql("SELECT id FROM users WHERE email_key = :key", key=address) == [(last,)]

    @staticmethod
    def _claims(on: Accounts, name: str, letters: str) -> tuple[str, list[EmailMessage]]:
        """Users who claim one address, and the mails that verify it."""
        address = f"{name}@example.com"
        for letter in letters:
            assert on.register(f"{letter}{name}", address).status_code == 201
        mails = on.mails(address, "verify", len(letters))
        assert len(mails) == len(letters)
        return address, mails
