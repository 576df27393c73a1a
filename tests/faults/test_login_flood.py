"""Very many logins at once."""

import threading
import time
from contextlib import closing

import pytest

from tests.support.client import Api
from tests.support.crowd import Call, Crowd, Watch, at_once
from tests.support.databases import ON_SQLITE, SERVERS_IF_THOROUGH
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import serving

pytestmark = pytest.mark.alone


class TestLoginFlood:
    """R9."""

    @SERVERS_IF_THOROUGH
    def test_reads_go_on_during_many_logins(self, url: str) -> None:
        """R9."""
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                names = [api.new_user(f"user{number}")["username"] for number in range(6)]
                logins = [Call("POST", "/token", form={"username": name, "password": PASSWORD}) for name in names] * 5
                watches = [Watch(server, path, api.admin.token) for path in ("/users/me", "/users", "/health/ready")]
                with watches[0], watches[1], watches[2]:
                    replies = at_once(server, logins)
                assert [reply.status for reply in replies] == [200] * 30, replies
                for watch in watches:
                    watch.assert_answered_within(1)
                    assert len(watch.seconds) > 50


class TestFlood:
    """S28."""

    RATE, SECONDS = 40, 5  # requests a second of one address, for so many seconds

    @ON_SQLITE
    @pytest.mark.parametrize("of", ["right", "wrong", "register"])
    def test_from_one_address_leaves_others_their_logins(self, url: str, of: str) -> None:
        """S28: each within 2 s and its own hash, which takes longer the more the machine has to do."""
        settings = {"FORWARDED_ALLOW_IPS": "127.0.0.1", "REGISTRATION_ENABLED": "true"}
        settings["REGISTRATIONS_PER_HOUR"] = "100000"
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD="Not-Used-1", **settings) as server:
            api = Api(server)
            with closing(api):
                api.new_user("alice")
                api.new_user("bob")
                alone = self._seconds(api)
                stop, sent = threading.Event(), list[Crowd]()
                flood = threading.Thread(target=self._flood, args=(api, of, stop, sent))
                flood.start()
                try:
                    stop.wait(2)
                    taken = [self._seconds(api) for _ in range(self.SECONDS)]
                finally:
                    stop.set()
                    flood.join()
                    for crowd in sent:
                        crowd.close()
                assert max(taken) < 2 + 4 * alone, taken
                assert len(sent) > 20

    def _seconds(self, api: Api) -> float:
        form, begun = {"username": "alice", "password": PASSWORD}, time.monotonic()
        assert api.http.post("/token", data=form, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 200
        return time.monotonic() - begun

    def _flood(self, api: Api, of: str, stop: threading.Event, sent: list[Crowd]) -> None:
        headers, number = {"X-Forwarded-For": "192.0.2.66"}, 0
        while not stop.wait(1 / self.RATE):
            number += 1
            if of == "register":
                body = {"username": f"new{number}", "email": f"new{number}@example.com", "password": PASSWORD}
                call = Call("POST", "/register", json=body, headers=headers)
            else:
                name, password = ("bob", PASSWORD) if of == "right" else (f"user{number}", WRONG_PASSWORD)
                call = Call("POST", "/token", form={"username": name, "password": password}, headers=headers)
            sent.append(Crowd(api.server, [call]))
            sent[-1].send()

    @ON_SQLITE
    def test_who_has_gone_is_not_hashed(self, url: str) -> None:
        """S28: twenty who hang up cost others nothing."""
        with serving(url, BCRYPT_ROUNDS="13", FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                api.new_user("alice")
                alone = self._seconds(api)
                call = Call("POST", "/token", form={"username": "alice", "password": PASSWORD})
                crowd = Crowd(server, [call] * 40).send()
                time.sleep(alone / 2)  # until they wait in the queue
                crowd.close()
                assert self._seconds(api) < 8 * alone  # 20 turns of both cores if they were hashed
