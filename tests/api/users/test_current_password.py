"""Changes of one's own account that need the current password."""

from typing import Any

import bcrypt
import pytest

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Actor, Api
from tests.support.crowd import Call, Reply
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.users import changed_meanwhile, stored

METHODS = pytest.mark.parametrize("method", ["PUT", "PATCH"])
GUARDED = pytest.mark.parametrize(
    "changes", [{"password": NEW_PASSWORD}, {"email": "new@example.com"}, {"password": PASSWORD}]
)
WRONG = ["", PASSWORD.lower(), NEW_PASSWORD, PASSWORD + "\0", PASSWORD + "x" * 80, "x" * 5000]


def answer_after(api: Api, actor: Actor, method: str, change: str, new: str) -> Reply:
    """The answer to a user who sets `Third-Donkey-9`, and whose row changes between the proof and the writing."""
    body = {"password": "Third-Donkey-9", "email": "new@example.com", "current_password": PASSWORD}
    call = Call(method, "/users/me", actor.token, json=body)
    return changed_meanwhile(api, call, f"UPDATE users SET {change} WHERE id = :id", new=new, id=actor.id)


class TestCurrentPassword:
    """S15: who holds just a token cannot take the account."""

    @METHODS
    @GUARDED
    @pytest.mark.parametrize("is_admin", [False, True])
    def test_own_password_or_email_needs_it(
        self, api: Api, method: str, changes: dict[str, Any], is_admin: bool
    ) -> None:
        """S15."""
        alice = api.new_actor("alice", is_admin=is_admin)
        before = stored(api)
        given: list[tuple[dict[str, str], str]] = [({}, "current_password_required")]
        given += [({"current_password": wrong}, "current_password_incorrect") for wrong in WRONG]
        for path in ("/users/me", alice.path):
            for more, code in given:
                assert_refused(alice.request(method, path, json={"age": 99, **changes, **more}), code)
        if method == "PUT":
            absent = alice.put("/users/me", json={**changes, "current_password": None})
            assert_refused(absent, "current_password_required")
        assert stored(api) == before
        assert alice.get("/users/me").status_code == 200

    @METHODS
    @GUARDED
    def test_right_one_lets_the_change_through(
        self, api: Api, alice: Actor, method: str, changes: dict[str, Any]
    ) -> None:
        answer = alice.request(method, alice.path, json={**changes, "current_password": PASSWORD})
        assert answer.status_code == 200
        assert answer.json()["updated_at"] is not None
        assert PASSWORD not in answer.text
        api.log_in(answer.json()["email"], changes.get("password", PASSWORD))

    @METHODS
    def test_admin_needs_it_for_itself_only(self, api: Api, alice: Actor, method: str) -> None:
        """S15: one that comes along with another's changes is no matter."""
        changes = {"password": NEW_PASSWORD, "email": "new@example.com"}
        assert_refused(api.admin.request(method, "/users/me", json=changes), "current_password_required")
        assert api.admin.request(method, alice.path, json=changes).status_code == 200
        api.log_in("new@example.com", NEW_PASSWORD)
        body = {"password": PASSWORD, "current_password": "wrong"}
        assert api.admin.request(method, alice.path, json=body).status_code == 200

    @METHODS
    @pytest.mark.parametrize(
        "changes",
        [
            {"username": "alicia", "age": 9},
            {"email": "ALICE@example.com"},
            {"email": "alice@example.com"},
            {"age": 9, "current_password": "wrong"},
        ],
    )
    def test_other_changes_need_none(self, alice: Actor, method: str, changes: dict[str, Any]) -> None:
        """An address in other letters is the same address."""
        answer = alice.request(method, "/users/me", json=changes)
        assert answer.status_code == 200
        changes.pop("current_password", None)
        assert changes.items() <= answer.json().items()

    @METHODS
    @pytest.mark.parametrize(
        ("email", "other"),
        [
            ("x@strasse.de", "x@stra\N{LATIN SMALL LETTER SHARP S}e.de"),
            ("strasse@example.com", "stra\N{LATIN SMALL LETTER SHARP S}e@example.com"),
            ("fish@example.com", "\N{LATIN SMALL LIGATURE FI}sh@example.com"),
            ("sue@example.com", "\N{LATIN SMALL LETTER LONG S}ue@example.com"),
        ],
    )
    def test_address_that_only_folds_to_the_same_is_another(
        self, api: Api, method: str, email: str, other: str
    ) -> None:
        """S25: the letters name another mailbox, though the key is the same."""
        bob = api.new_actor("bob", email=email)
        before = stored(api)
        answer = bob.request(method, "/users/me", json={"email": other})
        assert_refused(answer, "current_password_required")
        assert stored(api) == before
        answer = bob.request(method, "/users/me", json={"email": other, "current_password": PASSWORD})
        assert answer.status_code == 200

    def test_new_password_must_fit_the_rule(self, api: Api, alice: Actor) -> None:
        answer = alice.put("/users/me", json={"password": "short-9", "current_password": PASSWORD})
        assert_invalid(answer, "password")
        assert PASSWORD not in answer.text
        api.log_in("alice")

    @METHODS
    def test_one_that_is_replaced_after_the_proof_is_refused(self, api: Api, alice: Actor, method: str) -> None:
        """S1, S15: who knew the old password changes nothing once there is a new one."""
        replaced = bcrypt.hashpw(NEW_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        printed = len(api.server.output)
        reply = answer_after(api, alice, method, "hashed_password = :new", replaced)
        assert (reply.status, reply.body["code"]) == (400, "current_password_incorrect")
        assert not [line for line in api.server.output[printed:] if "login_failed" in line], "nothing was tried"
        assert api.log_in("alice", NEW_PASSWORD).user == alice.user

    @METHODS
    def test_username_that_comes_after_the_proof_counts(self, api: Api, alice: Actor, method: str) -> None:
        reply = answer_after(api, alice, method, "username = :new, username_key = :new", "donkey")
        assert (reply.status, reply.body["code"]) == (422, "password_contains_username")
