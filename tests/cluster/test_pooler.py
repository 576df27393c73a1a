"""PostgreSQL behind PgBouncer, which gives each transaction a server connection that others have used (R12, S40)."""

import asyncio
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tests.support.client import Actor, Api
from tests.support.clusters import PgBouncer, running
from tests.support.crowd import Call, Reply, at_once
from tests.support.databases import SERVERS, new_database, skip_without, url_at
from tests.support.insides import Database, driver_url, server_engine
from tests.support.people import PASSWORD
from tests.support.private_databases import AbsentError, PostgreSQL
from tests.support.processes import run, wait_until
from tests.support.proxy import Proxy
from tests.support.schema import migrate
from tests.support.servers import serving

REQUESTS, AT_ONCE = 600, 60
ONE, OTHER = sa.text("SELECT 'one'"), sa.text("SELECT 'other'")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of one's own."""
    server = PostgreSQL()
    try:
        with running(server):
            yield server
    except AbsentError as absent:
        skip_without("postgresql", str(absent))


@pytest.fixture(scope="module")
def pooler(server: PostgreSQL) -> Iterator[PgBouncer]:
    """A pooler that knows no start-up parameter but the usual ones."""
    pooler = PgBouncer(server)
    try:
        with running(pooler):
            yield pooler
    except AbsentError as absent:
        skip_without("pgbouncer", str(absent))


@pytest.fixture
def pooled_url(server: PostgreSQL, pooler: PgBouncer) -> Iterator[str]:
    """The URL, by the pooler, of a database of one's own."""
    with new_database("postgresql", server.url) as url:
        yield url_at(pooler.url, url)


def mixed(api: Api, actors: list[Actor]) -> list[tuple[Call, Actor | None]]:
    """Many requests of many users, with whose record each must be answered."""
    admin, asked = api.admin, list[tuple[Call, Actor | None]]()
    for number in range(REQUESTS // 6):
        actor, other = actors[number % len(actors)], actors[(number * 7 + 3) % len(actors)]
        asked += [(Call("GET", "/users/me", actor.token), actor), (Call("GET", "/users/me", other.token), other)]
        asked += [(Call("GET", other.path, admin.token), other), (Call("GET", "/users", admin.token), None)]
        age = 1 + number % 100
        asked += [(Call("PATCH", actor.path, actor.token, json={"age": age}), actor)]
        form = {"username": other.user["username"], "password": PASSWORD}
        asked += [(Call("POST", "/token", form=form), None)]
    return asked


def send(api: Api, asked: list[tuple[Call, Actor | None]]) -> list[tuple[Reply, Actor | None]]:
    answered: list[tuple[Reply, Actor | None]] = []
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        replies = at_once(api.server, [call for call, _ in part])
        answered += [(reply, actor) for reply, (_, actor) in zip(replies, part, strict=True)]
    return answered


def strangers(answered: list[tuple[Reply, Actor | None]]) -> int:
    """How many answers show the record of somebody else."""
    return sum(reply.status == 200 and actor is not None and reply.body["id"] != actor.id for reply, actor in answered)


@pytest.mark.slow
class TestTransactionMode:
    """R12."""

    def test_all_answers_are_right(self, pooled_url: str) -> None:
        """R12: four workers share eight connections of the server, and find out that they do."""
        migrate(pooled_url)
        with serving(
            pooled_url, "--workers", "4", FIRST_ADMIN_PASSWORD="Not-Used-1", THROTTLE_ENABLED="false"
        ) as service:
            wait_until(lambda: service.text.count("Application startup complete") == 4)
            with closing(Api(service)) as api:
                actors = [api.new_actor(f"user{number}") for number in range(20)]
                answered = send(api, mixed(api, actors))
                assert {reply.status for reply, _ in answered} == {200}
                assert strangers(answered) == 0
            assert "Traceback" not in service.text

    def test_three_migrate_one_empty_database(self, pooled_url: str) -> None:
        """R12: the lock must not stay with a connection that others get next."""
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda _: run("userapi", "migrate", url=pooled_url), range(3)))
        assert [finished.returncode for finished in done] == [0] * 3, [finished.stderr for finished in done]
        assert sum("went from nothing" in finished.stdout for finished in done) == 1

    @pytest.mark.parametrize("told", ["", "&pooler=transaction"], ids=["found out", "told"])
    def test_time_limits_stay_with_their_transaction(self, pooled_url: str, told: str) -> None:
        """R12: others who get the connection next have limits of their own."""

        async def limits() -> tuple[str, list[str]]:
            database = Database(pooled_url + told)
            shown = sa.text("SHOW statement_timeout")
            inside = await database.write(lambda db: db.connection().execute(shown).scalar_one())
            after = [await database.read(lambda connection: connection.execute(shown).scalar_one()) for _ in range(9)]
            await database.close()
            return inside, after

        inside, after = asyncio.run(limits())
        assert inside == "4s"
        assert set(after) == {"0"}


class TestForeignRows:
    """S40."""

    def test_forced_to_prepare_statements_it_answers_nobody_elses_record(self, pooled_url: str) -> None:
        """S40: this pooler gives the service connections on which another has prepared; no error is one of its own."""
        migrate(pooled_url)
        settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false"}
        forced_url = f"{pooled_url}&prepare_threshold=5"
        with (
            serving(pooled_url, **settings) as sound,
            serving(forced_url, "--workers", "2", **settings) as forced,
            closing(Api(sound)) as api,
        ):
            direct = [api.new_actor(f"user{number}") for number in range(4)]
            asked = mixed(api, direct)[: REQUESTS // 2]
            api.server = forced
            answered = send(api, asked)
            assert strangers(answered) == 0
            assert {reply.status for reply, _ in answered} <= {200, 503}

    def test_what_another_client_prepared_is_not_run(self, pooled_url: str) -> None:
        """S40: a client that gets the other's connection of the server finds that its own statement is not there."""

        async def run_on_the_others() -> None:
            engine = server_engine(driver_url(f"{pooled_url}&prepare_threshold=1"), poolclass=sa.NullPool)
            async with engine.connect() as one, engine.connect() as other:
                for connection, statement in ((one, ONE), (other, OTHER)):
                    for _ in range(2):  # the second one is prepared
                        assert await connection.scalar(statement) == str(statement)[8:-1]
                for connection in (one, other):  # the pooler gives away first what it got back last
                    await connection.commit()
                with pytest.raises(DBAPIError, match="does not exist") as refused:
                    await one.scalar(ONE)
                assert refused.value.connection_invalidated

        asyncio.run(run_on_the_others())

    @pytest.mark.parametrize("kind", list(SERVERS), indirect=True, scope="session")
    def test_row_that_was_not_asked_for_is_not_used(self, kind: str, url: str) -> None:
        """S40: between the service and the server something asks for another session."""
        parsed = sa.make_url(url)
        proxy = Proxy(parsed.port or 0)
        address = parsed.set(port=proxy.port).render_as_string(hide_password=False)
        with closing(proxy), serving(address, FIRST_ADMIN_PASSWORD="Not-Used-1", THROTTLE_ENABLED="false") as service:
            service.url = url
            with closing(Api(service)) as api:
                alice, bob = api.new_actor("alice"), api.new_actor("bob")
                ids = [actor.get("/users/me/sessions").json()[0]["id"] for actor in (alice, bob)]
                proxy.replace(*(_asking(kind, session_id) for session_id in ids))
                [reply] = at_once(service, [Call("GET", "/users/me", alice.token)])
                assert (reply.status, reply.body["code"]) == (503, "database_unavailable")
                assert "foreign_row_read" in service.text
                [reply] = at_once(service, [Call("GET", "/users/me", bob.token)])
                assert (reply.status, reply.body["id"]) == (200, bob.id)


def _asking(kind: str, session_id: int) -> bytes:
    """How the id is on the wire in the statement that finds the caller."""
    if kind == "postgresql":
        return struct.pack("!hIh", 1, 2, session_id)  # one parameter, of two bytes
    return f"login_sessions.id IN ({session_id})".encode()
