"""An import is written beside a running service: whole or not at all, and without holding others up."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.events import events, named
from tests.support.insides import Database, bulk
from tests.support.people import PASSWORD
from tests.support.processes import ROOT, environment, refused_to_start, wait_until
from tests.support.statements import failing_at, watched
from tests.support.users import stored

COUNT = 500  # more than the first batches together


def lines(count: int = COUNT, first_id: int | None = None) -> str:
    """Lines of JSON about so many users, with ids one after another if the first is given."""
    rows: list[dict[str, Any]] = [
        {"username": f"user{n}", "email": f"user{n}@example.com", "hashed_password": "!"} for n in range(count)
    ]
    if first_id is not None:
        rows = [row | {"id": first_id + n} for n, row in enumerate(rows)]
    return "".join(json.dumps(row) + "\n" for row in rows)


class BrokenOffError(Exception):
    """A commit has failed."""


class TestWhole:
    def test_name_taken_meanwhile_takes_all_back(self, api: Api) -> None:
        """What was checked is not sure: the unique index decides."""
        assert api.admin.token  # a login is noted down
        before = stored(api)
        made: list[int] = []

        def take_a_name(statement: str) -> None:  # when all is checked; on SQLite before the lock is taken
            if statement.startswith(("BEGIN IMMEDIATE", "INSERT INTO users")) and not made:
                made.append(api.new_user("USER400")["id"])

        with watched(before=take_a_name):
            done = command("import", "-", stdin=lines(), url=api.server.url)
        assert made
        assert refused_to_start(done) == "user400: Username already registered"
        assert [row for row in stored(api) if row[0] != made[0]] == before

    def test_what_others_changed_stays(self, api: Api) -> None:
        """Also if a change of the import was not committed, and theirs made the same version."""
        user = api.new_user("carol")

        async def work() -> None:
            database, before = Database(api.server.url), list[Any]()

            def change(db: Session) -> None:
                before.extend(bulk.change(db, {user["id"]: {"age": 5}}))
                raise BrokenOffError

            with pytest.raises(BrokenOffError):
                await database.write(change)
            assert api.admin.patch(f"/users/{user['id']}", json={"age": 9}).status_code == 200
            await database.write(bulk.change_back, before)
            await database.close()

        asyncio.run(work())
        assert api.admin.get(f"/users/{user['id']}").json()["age"] == 9

    def test_ctrl_c_takes_all_back(self, api: Api) -> None:
        alice = api.new_user("alice")
        before = [row[1:] for row in api.sql("SELECT username, username, age, is_active FROM users ORDER BY id")]
        text = json.dumps({"username": "alice", "age": 77}) + "\n" + lines()
        with failing_at("INSERT INTO users", times=2):
            assert command("import", "-", "--update", stdin=text, url=api.server.url).returncode != 0
        after = [row[1:] for row in api.sql("SELECT username, username, age, is_active FROM users ORDER BY id")]
        assert after == before
        assert api.admin.get(f"/users/{alice['id']}").json()["updated_at"] is None

    @ON_SQLITE
    def test_ctrl_c_during_a_commit_takes_back_what_that_commits(self, api: Api) -> None:
        """Whoever waits for a commit is told that it is interrupted, and not whether it was committed."""
        alice = api.new_user("alice", age=30)
        pressed: list[str] = []

        def press(statement: str) -> None:  # which is told to the command where it waits next: for the commit
            if statement.startswith("UPDATE users") and not pressed:
                pressed.append(statement)
                signal.raise_signal(signal.SIGINT)

        text = json.dumps({"username": "alice", "age": 77}) + "\n"
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with watched(before=press):
                done = command("import", "-", "--update", stdin=text, url=api.server.url)
        finally:
            signal.signal(signal.SIGINT, handler)
        assert (done.returncode, len(pressed)) == (1, 1)
        found = api.admin.get(f"/users/{alice['id']}")
        assert found.headers["ETag"] == '"3"'  # it was changed, and changed back
        assert found.json() == alice

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True, scope="session")
    def test_killed_it_is_completed_by_running_it_again(self, api: Api) -> None:
        text = lines(20_000)
        process = subprocess.Popen(
            [sys.executable, "-m", "userapi", "import", "-"],
            env=environment(api.server.url),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin
        process.stdin.write(text.encode())
        process.stdin.close()
        wait_until(lambda: api.sql("SELECT count(*) FROM users")[0][0] > 1, 60)
        process.kill()
        process.wait()
        [(there,)] = api.sql("SELECT count(*) FROM users")
        assert there < 20_001
        done = command("import", "-", stdin=text, url=api.server.url)
        assert done.returncode == 0
        [(new, same)] = re.findall(r"Users: (\d+) new, 0 changed, (\d+) there already, 0 refused\n", done.stdout)
        assert int(new) + int(same) == 20_000
        assert int(same) >= there - 1  # a commit that was under way may have come through
        assert api.sql("SELECT count(*), count(DISTINCT username_key) FROM users") == [(20_001, 20_001)]


class TestBeside:
    @pytest.mark.parametrize("undone", [False, True], ids=["change", "undo"])
    def test_who_waits_for_its_first_user_holds_up_nobody(self, api: Api, undone: bool) -> None:
        """R11: it locks users in the order of their ids, whatever that of the lines, and whoever they are."""
        if api.kind == "sqlite":
            pytest.skip("SQLite has no locks of rows")
        first, last = (api.new_user(f"user{number}")["id"] for number in range(2))
        locked = "SELECT id FROM users WHERE id = :id FOR UPDATE"

        async def beside(database: Database) -> None:
            changes: dict[int, dict[str, Any]] = {last: {"is_active": False}, first: {"age": 5}}
            unit: Callable[[Session], object] = partial(bulk.change, changes=changes)
            if undone:
                before = await database.write(bulk.change, changes)
                unit = partial(bulk.change_back, users=before[::-1])
            with api.server.engine.connect() as holder:
                holder.execute(sa.text(locked), {"id": first})
                waiting = asyncio.ensure_future(database.write(unit))
                done, _ = await asyncio.wait({waiting}, timeout=1)
                assert not done
                assert holder.execute(sa.text(f"{locked} NOWAIT"), {"id": last}).all() == [(last,)]
            await waiting
            await database.close()

        asyncio.run(beside(Database(api.server.url)))
        ages = "SELECT count(*) FROM users WHERE age = 5 OR NOT is_active"
        assert api.sql(ages) == [(0 if undone else 2,)]

    def test_others_write_between_its_batches(self, api: Api) -> None:
        """R4: no lock is held for the whole of it; others see some of the users before all are there."""
        assert api.admin.token
        reached: list[str] = []
        there: list[int] = []

        def make_one_more(statement: str) -> None:  # on SQLite before the lock is taken, elsewhere while one is held
            if statement.startswith("BEGIN IMMEDIATE" if api.kind == "sqlite" else "INSERT INTO users"):
                reached.append(statement)
                number = len(reached)
                body = {"username": f"new_{number}", "email": f"new_{number}@example.com", "password": PASSWORD}
                assert api.admin.post("/users", json=body).status_code == 201
                there.append(api.sql("SELECT count(*) FROM users WHERE hashed_password = '!'")[0][0])

        with watched(before=make_one_more):
            done = command("import", "-", stdin=lines(), url=api.server.url)
        assert done.returncode == 0, done.stderr
        assert [count for count in there if 0 < count < COUNT]
        assert api.sql("SELECT count(*) FROM users") == [(1 + COUNT + len(reached),)]

    def test_user_made_between_its_batches_gets_no_id_of_a_later_row(self, api: Api) -> None:
        """And nobody else is there afterwards: on SQLite and MariaDB, somebody has the highest id for a moment."""
        first = api.admin.id + 1
        made: list[int] = []

        def make_one_more(statement: str) -> None:  # on SQLite before the lock is taken, elsewhere while one is held
            begins = statement.startswith("BEGIN IMMEDIATE" if api.kind == "sqlite" else "INSERT INTO users")
            if begins and not made and api.sql("SELECT count(*) FROM users")[0][0] > 1:
                made.append(api.new_user("newcomer")["id"])

        with watched(before=make_one_more):
            done = command("import", "-", stdin=lines(first_id=first), url=api.server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert made[0] >= first + COUNT
        assert api.sql("SELECT id FROM users ORDER BY id") == [(n,) for n in [*range(first - 1, first + COUNT), *made]]

    @ON_SQLITE
    def test_is_told_once(self, api: Api, caplog: pytest.LogCaptureFixture) -> None:
        """Not a million times that a user was made."""
        with caplog.at_level("INFO", "userapi.events"):
            assert command("import", "-", stdin=lines(3), url=api.server.url).returncode == 0
        [told] = [record for record in caplog.records if record.name.endswith("events")]
        assert told.getMessage() == "imported"
        assert told.__dict__["fields"] == {"created": 3, "changed": 0, "by": "operator"}

    def test_is_one_event(self, api: Api) -> None:
        """S35."""
        text = lines(3) + json.dumps({"username": "admin", "age": 44}) + "\n"
        assert command("import", "-", "--update", stdin=text, url=api.server.url).returncode == 0
        event = named(api, "imported")
        assert (event["actor_id"], event["user_id"]) == ("operator", None)
        assert event["details"] == {"created": 3, "changed": 1, "command": "import"}
        assert [one["name"] for one in events(api.admin, actor_id="operator")] == ["imported", "user_changed"]

    def test_that_is_taken_back_is_none(self, api: Api) -> None:
        with failing_at("INSERT INTO users", times=2):
            assert command("import", "-", stdin=lines(), url=api.server.url).returncode != 0
        assert events(api.admin, actor_id="operator") == []
