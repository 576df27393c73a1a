"""Processes that start together."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from tests.support.alembic import HEAD, alembic, make_rows, sql
from tests.support.crowd import Call, at_once
from tests.support.databases import new_database, sync_engine
from tests.support.processes import run
from tests.support.servers import serving


@pytest.mark.slow
class TestStartingTogether:
    """R10."""

    def test_six_migrate_one_empty_database(self, empty_url: str) -> None:
        """R10."""
        with ThreadPoolExecutor(6) as pool:  # forks: they have imported all there is, so they really meet
            done = list(pool.map(lambda _: run("userapi", "migrate", url=empty_url), range(6)))
        assert [each.returncode for each in done] == [0] * 6, "".join(each.stderr for each in done)
        assert sorted(each.stdout + each.stderr for each in done) == [
            *[f"The schema is at {HEAD} already\n"] * 5,
            f"The schema went from nothing to {HEAD}\n",
        ]
        assert sql(empty_url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
        assert sql(empty_url, "SELECT count(*) FROM users") == [(0,)]
        make_rows(empty_url)
        alembic(empty_url, "check")

    def test_six_serve_one_new_sqlite_file(self) -> None:
        """R10."""
        with new_database("sqlite") as url, ExitStack() as stack, ThreadPoolExecutor(6) as pool:
            starting = [serving(url, SECRET_KEY="") for _ in range(6)]
            servers = list(pool.map(stack.enter_context, starting))
            outputs = [server.text for server in servers]
            passwords = re.findall(r"password: (\S+) +\(shown this once\)", "".join(outputs))
            assert len(passwords) == 1, outputs
            assert sum("The first admin is made" in output for output in outputs) == 1, outputs
            assert not any("Traceback" in output for output in outputs), outputs
            login = Call("POST", "/token", form={"username": "admin", "password": passwords[0]})
            (token,) = {at_once(servers[0], [login])[0].body["access_token"]}
            for server in servers:  # all of them found one signing key
                assert at_once(server, [Call("GET", "/users/me", token)])[0].status == 200
            engine = sync_engine(url)
            with engine.connect() as connection:
                assert connection.execute(sa.text("SELECT COUNT(*) FROM users")).scalar() == 1
            engine.dispose()
