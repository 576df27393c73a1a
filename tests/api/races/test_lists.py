"""Lists that many ask for at once: on a server those who wait share one read."""

from tests.support.client import Api
from tests.support.crowd import Call, at_once


class TestLists:
    def test_are_each_what_was_asked_for(self, crowded: Api) -> None:
        """S2: and what is committed before a list is asked for is in it."""
        for number in range(3):
            crowded.new_user(f"user{number}")
        paths = [f"/users?page_size={size}" for size in (1, 2, 3)] * 8
        replies = at_once(crowded.server, [Call("GET", path, crowded.admin.token) for path in paths])
        assert [len(reply.body) for reply in replies] == [1, 2, 3] * 8
        made = crowded.new_user("another")
        call = Call("GET", "/users?sort=-id&page_size=1", crowded.admin.token)
        assert [reply.body[0]["id"] for reply in at_once(crowded.server, [call] * 8)] == [made["id"]] * 8
