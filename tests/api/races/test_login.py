"""Logins that meet a change of the account."""

import bcrypt
import pytest

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.people import PASSWORD


@pytest.mark.slow
class TestLoginDuringPasswordChange:
    """S1."""

    ROUNDS = 15
    LOGINS = 8

    @pytest.mark.parametrize("change", ["password", "is_active"])
    def test_no_session_of_the_old_password_survives(self, crowded: Api, change: str) -> None:
        """S1."""
        token = crowded.admin.token
        raced = refused = 0
        for number in range(4 * self.ROUNDS):
            if number >= self.ROUNDS and raced and refused:
                break
            user = crowded.new_user(f"user{number}")
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            body = {"password": f"New-Donkey-{number}"} if change == "password" else {"is_active": False}
            # The change leaves somewhere among the logins, another place each round; behind ever more of them, if it
            # overtook them all so far.
            logins = self.LOGINS * (1 + number // self.ROUNDS)
            calls = [login] * logins
            place = number % (logins + 1) if number < self.ROUNDS else logins
            calls.insert(place, Call("PUT", f"/users/{user['id']}", token, json=body))
            replies = at_once(crowded.server, calls)
            changed = [reply for reply in replies if "access_token" not in reply.body and reply.status == 200]
            assert len(changed) == 1, replies
            assert {reply.status for reply in replies} <= {200, 401, 429}, replies
            tokens = [reply.body["access_token"] for reply in replies if "access_token" in reply.body]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)
            assert not crowded.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=user["id"])
            raced += len(tokens)
            refused += logins - len(tokens)
        assert raced, "no login came before the change: nothing was tried"
        assert refused, "no login came after the change: nothing was tried"

    def test_only_the_session_that_changed_the_password_survives(self, crowded: Api) -> None:
        """S1."""
        for number in range(self.ROUNDS):
            owner = crowded.new_actor(f"user{number}")
            login = Call("POST", "/token", form={"username": f"user{number}", "password": PASSWORD})
            change = {"password": f"New-Donkey-{number}", "current_password": PASSWORD}
            calls = [*[login] * 4, Call("PUT", owner.path, owner.token, json=change), *[login] * 4]
            replies = at_once(crowded.server, calls)
            assert replies[4].status == 200, replies[4]
            tokens = [
                reply.body["access_token"] for reply in replies if reply.status == 200 and reply is not replies[4]
            ]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)
            assert owner.get("/users/me").status_code == 200
            assert len(crowded.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=owner.id)) == 1

    def test_no_token_works_for_a_user_deleted_meanwhile(self, crowded: Api) -> None:
        """S1."""
        for number in range(self.ROUNDS):
            user = crowded.new_user(f"user{number}")
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            calls = [*[login] * 4, Call("DELETE", f"/users/{user['id']}", crowded.admin.token), *[login] * 4]
            replies = at_once(crowded.server, calls)
            assert replies[4].status == 200, replies[4]
            assert {reply.status for reply in replies} <= {200, 401, 429}, replies
            tokens = [reply.body["access_token"] for reply in replies if "access_token" in reply.body]
            uses = at_once(crowded.server, [Call("GET", "/users/me", token) for token in tokens])
            assert [use.status for use in uses] == [401] * len(uses), (number, uses)


@pytest.mark.slow
class TestParallelLogins:
    def test_logins_that_meet_while_one_renews_the_hash_all_succeed(self, crowded: Api) -> None:
        """S6."""
        for number in range(5):
            user = crowded.new_user(f"user{number}")
            outdated = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
            crowded.sql("UPDATE users SET hashed_password = :hash WHERE id = :id", hash=outdated, id=user["id"])
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            replies = at_once(crowded.server, [login] * 8)
            assert [reply.status for reply in replies] == [200] * 8, replies
            renewed = crowded.sql("SELECT hashed_password FROM users WHERE id = :id", id=user["id"])[0][0]
            assert renewed.startswith("$2b$04$")
