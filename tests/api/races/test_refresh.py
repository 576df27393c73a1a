"""Refresh tokens used in parallel."""

import pytest

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.logins import alive, assert_ended


@pytest.mark.slow
class TestParallelRefresh:
    """S20: real parallel requests to four processes."""

    ROUNDS = 8
    TABS = 16

    def test_all_get_the_same_token_by_one_step(self, crowded: Api) -> None:
        crowded.new_user("alice")
        pair = crowded.grant("alice")
        for generation in range(2, 2 + self.ROUNDS):
            form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
            replies = at_once(crowded.server, [Call("POST", "/token", form=form)] * self.TABS)
            assert {reply.status for reply in replies} == {200}, replies
            assert len({reply.body["refresh_token"] for reply in replies}) == 1
            pair = replies[0].body
            assert alive(crowded, pair).generation == generation
            uses = [Call("GET", "/users/me", reply.body["access_token"]) for reply in replies]
            assert {use.status for use in at_once(crowded.server, uses)} == {200}

    def test_no_token_survives_a_logout_among_them(self, crowded: Api) -> None:
        crowded.new_user("alice")
        for number in range(self.ROUNDS):
            pair = crowded.grant("alice")
            form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
            calls = [Call("POST", "/token", form=form)] * 8
            calls.insert(number, Call("POST", "/revoke", form={"token": pair["refresh_token"]}))
            replies = at_once(crowded.server, calls)
            assert replies.pop(number).status == 200
            assert {reply.status for reply in replies} <= {200, 400}, replies
            assert_ended(crowded, pair, *(reply.body for reply in replies if reply.status == 200))
