"""An admin makes a user without a password; a mail lets that user set one, once."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.accounts.conftest import Accounts
from tests.support.answers import assert_invalid, assert_refused
from tests.support.databases import ON_SQLITE
from tests.support.people import MISSING, NEW_PASSWORD, PASSWORD


def invite(accounts: Accounts, name: str, **fields: Any) -> dict[str, Any]:
    body = {"username": name, "email": f"{name}@example.com", "send_invitation": True, **fields}
    answer = accounts.api.admin.post("/users", json=body)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user


class TestInvitation:
    @pytest.mark.parametrize("by", ["token", "code"])
    def test_sets_the_password_and_verifies_once(self, required: Accounts, name: str, by: str) -> None:
        user = invite(required, name, age=30)
        assert (user["email_verified_at"], user["age"]) == (None, 30)
        for password in (PASSWORD, "!", ""):
            assert required.login(name, password).status_code in {401, 422}
        token, code = required.token(user["email"], "invitation"), required.code(user["email"], "invitation")
        proof = {"token": token} if by == "token" else {"login": user["email"], "code": code}
        assert required.post("/invitation/accept", **proof, new_password=PASSWORD).status_code == 204
        assert required.api.log_in(name).user["email_verified_at"]
        assert_refused(required.post("/invitation/accept", **proof, new_password=NEW_PASSWORD), "invalid_code")

    def test_is_sent_again_and_ends_the_one_before(self, off: Accounts, name: str) -> None:
        user = invite(off, name)
        before = off.token(user["email"], "invitation")
        path = f"/users/{user['id']}/invitation"
        assert off.api.admin.post(path).status_code == 202  # within 2 minutes there is no second mail
        off.api.sql("DELETE FROM outbox")
        assert off.api.admin.post(path).status_code == 202
        token = off.token(user["email"], "invitation", 2)
        assert_refused(off.post("/invitation/accept", token=before, new_password=PASSWORD), "invalid_code")
        assert off.post("/invitation/accept", token=token, new_password=PASSWORD).status_code == 204
        assert_refused(off.api.admin.post(path), "invitation_not_found")
        assert_refused(off.api.admin.delete(path), "invitation_not_found")

    def test_is_withdrawn(self, off: Accounts, name: str) -> None:
        """And a forgotten password is no way around that."""
        user = invite(off, name)
        token = off.token(user["email"], "invitation")
        answer = off.api.admin.delete(f"/users/{user['id']}/invitation")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_refused(off.post("/invitation/accept", token=token, new_password=PASSWORD), "invalid_code")
        assert off.post("/password/forgot", login=name).status_code == 202
        assert off.api.sql("SELECT count(*) FROM one_time_codes WHERE user_id = :id", id=user["id"]) == [(0,)]
        assert off.api.admin.get(f"/users/{user['id']}").status_code == 200

    def test_obeys_the_rules_of_passwords(self, off: Accounts, name: str) -> None:
        token = off.token(invite(off, name)["email"], "invitation")
        for weak in ("short", "Password1!", f"Zk4-{name}-X"):
            assert off.post("/invitation/accept", token=token, new_password=weak).status_code == 422
        assert off.post("/invitation/accept", token=token, new_password=PASSWORD).status_code == 204

    def test_withdrawn_and_sent_again_too_soon_is_refused(self, off: Accounts, name: str) -> None:
        """Else nobody would know that there is none."""
        user = invite(off, name)
        token, path = off.token(user["email"], "invitation"), f"/users/{user['id']}/invitation"
        assert off.api.admin.delete(path).status_code == 204
        answer = off.api.admin.post(path)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert answer.headers["Retry-After"] == "120"
        off.api.sql("DELETE FROM outbox")
        assert off.api.admin.post(path).status_code == 202
        again = off.token(user["email"], "invitation", 2)
        assert_refused(off.post("/invitation/accept", token=token, new_password=PASSWORD), "invalid_code")
        assert off.post("/invitation/accept", token=again, new_password=PASSWORD).status_code == 204

    @pytest.mark.parametrize("mode", ["off", "on", "required"])
    def test_of_an_address_that_is_corrected_ends(
        self, accounts_of: Callable[[str], Accounts], name: str, mode: str
    ) -> None:
        """S7: whoever reads the wrong mailbox does not get the account, and the right one gets the next."""
        accounts = accounts_of(mode)
        user, right = invite(accounts, name), f"right{name}@example.com"
        wrong = accounts.token(user["email"], "invitation")
        changed = accounts.api.admin.patch(f"/users/{user['id']}", json={"email": right}).json()
        assert (changed["email"], changed["pending_email"], changed["email_verified_at"]) == (right, None, None)
        assert_refused(accounts.post("/invitation/accept", token=wrong, new_password=PASSWORD), "invalid_code")
        path = f"/users/{user['id']}/invitation"
        assert accounts.api.admin.post(path).status_code == 429  # a mail of this kind was sent just now
        accounts.api.sql("DELETE FROM outbox")
        assert accounts.api.admin.post(path).status_code == 202
        token = accounts.token(right, "invitation")
        assert accounts.post("/invitation/accept", token=token, new_password=PASSWORD).status_code == 204
        assert accounts.login(right).status_code == 200

    @ON_SQLITE
    def test_is_for_admins_to_send(self, off: Accounts, name: str) -> None:
        """S3, S4."""
        user = invite(off, name)
        actor = off.api.new_actor(f"o{name}")
        for method in ("POST", "DELETE"):
            path = f"/users/{user['id']}/invitation"
            assert_refused(off.http.request(method, path), "not_authenticated")
            assert_refused(actor.request(method, path), "not_enough_permissions")
            assert_refused(off.api.admin.request(method, f"/users/{MISSING}/invitation"), "user_not_found")

    @ON_SQLITE
    @pytest.mark.parametrize(
        "fields", [{}, {"send_invitation": False}, {"password": PASSWORD, "send_invitation": True}]
    )
    def test_either_a_password_or_an_invitation(self, off: Accounts, name: str, fields: dict[str, Any]) -> None:
        body = {"username": name, "email": f"{name}@example.com", **fields}
        assert_invalid(off.api.admin.post("/users", json=body), "password")

    @ON_SQLITE
    def test_is_rolled_back_with_a_user_that_cannot_be(self, off: Accounts, name: str) -> None:
        body = {"username": name, "email": "admin@example.com", "send_invitation": True}
        assert_refused(off.api.admin.post("/users", json=body), "email_taken")
        assert off.api.sql("SELECT count(*) FROM outbox WHERE kind = 'invitation' AND user_id IS NULL") == [(0,)]
