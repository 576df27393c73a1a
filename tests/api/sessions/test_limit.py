"""A user has so many sessions at once, and no more."""

from tests.support.client import Actor, Api
from tests.support.logins import add_sessions, alive, assert_ended, id_of, sessions_of


class TestLimit:
    """S39."""

    def test_beyond_a_hundred_the_oldest_goes(self, api: Api) -> None:
        user = api.new_user("alice")
        first, second = api.grant("alice"), api.grant("alice")
        add_sessions(api, user["id"], 98)
        newest = api.grant("alice")
        assert_ended(api, first)
        alive(api, second)
        actor = Actor(api, user, newest["access_token"])
        found = sessions_of(actor)
        assert [len(found), found[0]["id"], found[-1]["id"]] == [100, id_of(newest), id_of(second)]

    def test_many_too_many_go_at_once(self, api: Api) -> None:
        user = api.new_user("alice")
        add_sessions(api, user["id"], 250)
        alice = api.log_in("alice")
        assert api.sql("SELECT count(*) FROM login_sessions WHERE user_id = :id", id=user["id"]) == [(100,)]
        assert alice.get("/users/me").status_code == 200

    def test_expired_and_others_sessions_do_not_count(self, api: Api) -> None:
        user, bob = api.new_user("alice"), api.new_user("bob")
        first = api.grant("alice")
        add_sessions(api, user["id"], 98)
        add_sessions(api, user["id"], 250, days=-1)
        add_sessions(api, bob["id"], 100)
        api.grant("alice")
        alive(api, first)
