"""PostgreSQL whose transactions are serializable, as those of CockroachDB, YugabyteDB and Spanner are (R13).

These cannot run here. What they ask of a client is the same: an error 40001, at any statement or at the commit, means
that the transaction must run again.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.support.client import Api
from tests.support.crowd import Call, at_once
from tests.support.databases import SERVERS, sync_engine
from tests.support.faults import Counted
from tests.support.insides import Database
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.servers import serving

ON_POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def strict_url(url: str) -> str:
    """The URL of a database whose transactions are serializable unless they ask for less, with the schema."""
    engine = sync_engine(SERVERS["postgresql"], isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        name = sa.make_url(url).database
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    return url


@pytest.fixture
def strict(strict_url: str) -> Iterator[Api]:
    """A service on such a database."""
    settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false"}
    with serving(strict_url, "--workers", "2", **settings) as service, closing(Api(service)) as api:
        assert api.admin.token
        yield api


@pytest.mark.slow
@ON_POSTGRESQL
class TestSerializable:
    """R13."""

    def test_unit_that_fails_at_its_commit_runs_again(self, strict_url: str) -> None:
        """R13: it read what another changed meanwhile, which shows when it commits."""
        engine = sync_engine(strict_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)"))
            connection.execute(sa.text("INSERT INTO counters VALUES (1, 0), (2, 0)"))

        def sum_up(db: Session | sa.Connection, number: int) -> None:
            db.execute(sa.text("SELECT value FROM counters")).all()
            db.execute(sa.text(f"UPDATE counters SET value = value + 1 WHERE id = {number}"))

        def work(db: Session, run: int) -> None:
            sum_up(db, 1)
            if run == 1:
                with engine.begin() as other:
                    sum_up(other, 2)

        async def run(counted: Counted) -> None:
            database = Database(strict_url)
            await database.write(counted)
            await database.close()

        counted = Counted(work)
        asyncio.run(run(counted))
        assert counted.runs == 2
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT SUM(value) FROM counters")).scalar_one() == 2

    def test_rules_hold_as_elsewhere(self, strict: Api, rounds: int) -> None:
        """R13: the last admin stays, no login outlives a new password, of one version's changes one succeeds."""
        bob = strict.new_actor("bob", is_admin=True)
        for number in range(rounds):
            both = [(bob.id, strict.admin.token), (strict.admin.id, bob.token)]
            calls = [Call("PATCH", f"/users/{user}", token, json={"is_admin": False}) for user, token in both]
            assert {reply.status for reply in at_once(strict.server, calls)} <= {200, 400, 403}
            assert strict.sql("SELECT COUNT(*) FROM users WHERE is_admin AND is_active")[0][0] >= 1
            strict.sql("UPDATE users SET is_admin = true, version = version + 1 WHERE username IN ('admin', 'bob')")

            user = strict.new_user(f"user{number}")
            login = Call("POST", "/token", form={"username": user["username"], "password": PASSWORD})
            change = Call("PATCH", f"/users/{user['id']}", strict.admin.token, json={"password": NEW_PASSWORD})
            *logins, changed = at_once(strict.server, [login, login, login, change])
            assert changed.status == 200, changed
            tokens = [reply.body["access_token"] for reply in logins if reply.status == 200]
            uses = [reply.status for reply in at_once(strict.server, [Call("GET", "/users/me", t) for t in tokens])]
            assert set(uses) <= {401}

            path, tag = f"/users/{user['id']}", strict.admin.get(f"/users/{user['id']}").headers["ETag"]
            patch = Call("PATCH", path, strict.admin.token, json={"age": 7}, headers={"If-Match": tag})
            patches = [patch._replace(json={"age": age}) for age in range(1, 7)]
            statuses = sorted(reply.status for reply in at_once(strict.server, patches))
            assert statuses == [200, 412, 412, 412, 412, 412]
