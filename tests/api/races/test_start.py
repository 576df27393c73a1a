"""Processes that start together."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from tests.support.alembic import HEAD, alembic, make_rows, sql
from tests.support.crowd import Call, at_once
from tests.support.databases import new_database, sync_engine
from tests.support.processes import ROOT, environment
from tests.support.servers import serving


@pytest.mark.slow
class TestStartingTogether:
    """R10."""

    def test_six_migrate_one_empty_database(self, empty_url: str) -> None:
        """R10."""
        # All is imported before any of them begins, so that they really meet.
        program = (
            "import alembic.command, asyncmy, psycopg, userapi.models; from userapi.cli import cli;"
            " print('ready', flush=True); input(); cli(['migrate'])"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment(empty_url),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 6, outputs
        assert sorted(outputs) == [
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
