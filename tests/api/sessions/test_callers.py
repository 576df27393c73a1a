"""Who calls, when many call at once: on a server one lookup serves all who wait."""

import asyncio

import pytest

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.insides import Callers, Claims, Database

MANY = 40


class TestCallers:
    def test_of_many_at_once_are_each_themselves(self, crowded: Api) -> None:
        """S2, S40: and who is logged out meanwhile is refused, whoever is looked up beside it."""
        actors = [crowded.new_actor(f"user{number}") for number in range(8)]
        for actor in actors[::4]:
            assert actor.delete("/users/me/sessions").status_code == 204
        calls = [Call("GET", "/users/me", actor.token) for actor in actors] * 5
        for actor, reply in zip(actors * 5, at_once(crowded.server, calls), strict=True):
            if actor in actors[::4]:
                assert (reply.status, reply.body["code"]) == (401, "session_ended")
            else:
                assert (reply.status, reply.body["id"]) == (200, actor.id)

    def test_are_looked_up_together(self, url: str, kind: str) -> None:
        """On SQLite a lookup takes less than it takes to wait for others."""

        async def run() -> int:
            database = Database(url)
            try:
                callers = Callers(database, 0)
                claims = [Claims(number, number, 1, "nobody's") for number in range(1, MANY + 1)]
                assert await asyncio.gather(*map(callers.find, claims)) == [None] * MANY
                return database.tally["read"]
            finally:
                await database.close()

        assert asyncio.run(run()) == (MANY if kind == "sqlite" else 1)

    @pytest.mark.parametrize("kind", ["postgresql", "mysql"], indirect=True)
    def test_who_waited_is_served_though_others_have_gone(self, url: str) -> None:
        """R8."""

        async def run() -> None:
            database = Database(url)
            try:
                callers = Callers(database, 0)
                waiting = [
                    asyncio.create_task(callers.find(Claims(number, number, 1, "nobody's"))) for number in range(1, 9)
                ]
                await asyncio.sleep(0)  # they have joined
                waiting[0].cancel()
                assert await asyncio.gather(*waiting[1:]) == [None] * 7
            finally:
                await database.close()

        asyncio.run(run())
