"""Backups, and what must not come back with an older one."""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, new_database, skip_without, sqlite_path
from tests.support.logins import Pair, claims_of, revoke
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD, PASSWORD, bearer
from tests.support.processes import refused_to_start, wait_until
from tests.support.servers import Server, serving


def dump(url: str, to: Path) -> None:
    """Do what the command says for this kind of database."""
    if url.startswith("sqlite"):
        assert command("backup", str(to), url=url).returncode == 0
        return
    says = refused_to_start(command("backup", str(to), url=url)).removeprefix(
        "a database server makes its backups itself: "
    )
    program, *options = says.split()
    run_tool(url, program, *options)


def dump_all(url: str, to: Path) -> None:
    """Copy the database with its sessions, as an operator might who has not read about it."""
    name = sa.make_url(url).database or ""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sqlite_path(url))) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
    elif url.startswith("postgresql"):
        run_tool(url, "pg_dump", "--format=custom", f"--file={to}", name)
    else:
        run_tool(url, "mariadb-dump", "--single-transaction", f"--result-file={to}", name)


@contextmanager
def restored(kind: str, backup: Path) -> Iterator[str]:
    with new_database(kind) as url:
        if kind == "sqlite":
            shutil.copy(backup, sqlite_path(url))
        elif kind == "postgresql":
            run_tool(url, "pg_restore", f"--dbname={sa.make_url(url).database}", str(backup))
        else:
            with backup.open("rb") as script:
                run_tool(url, "mariadb", sa.make_url(url).database or "", stdin=script)
        yield url


def run_tool(url: str, program: str, *options: str, stdin: Any = subprocess.DEVNULL) -> None:
    if shutil.which(program) is None:
        skip_without(url.partition(":")[0], f"there is no {program}")
    at = sa.make_url(url)
    account = [f"--host={at.host}", f"--port={at.port}"]
    account += [f"--username={at.username}"] if url.startswith("postgresql") else [f"--user={at.username}"]
    done = subprocess.run([program, *account, *options], stdin=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup"


class TestOlderBackup:
    """R20."""

    def test_revives_no_session_and_no_token_fits_another(self, api: Api, kind: str, backup: Path) -> None:
        """R20: neither those revoked since, nor those alive, nor those of users made since."""
        old = self._copied(api, dump, backup)
        with restored(kind, backup) as url, serving(url) as server:
            self._assert_worthless(server, *old)

    def test_with_its_sessions_is_made_safe_by_a_command(self, api: Api, kind: str, backup: Path) -> None:
        """R20: whoever copied the database by other means ends all sessions before it serves."""
        old = self._copied(api, dump_all, backup)
        with restored(kind, backup) as url:
            assert command("end-sessions", url=url).stdout == "4 sessions are ended\n"
            with serving(url) as server:
                self._assert_worthless(server, *old)

    @staticmethod
    def _copied(api: Api, copy: Callable[[str, Path], None], backup: Path) -> tuple[list[str], list[Pair], int]:
        """Copy the database; give tokens and pairs from before and after, and the id of a user made after."""
        alice = api.new_actor("alice")
        revoked, alive = api.grant("alice"), api.grant("alice")
        copy(api.server.url, backup)
        assert revoke(api, revoked["refresh_token"]).status_code == 200
        later = api.new_actor("later")
        return [revoked["access_token"], alive["access_token"], later.token, alice.token], [revoked, alive], later.id

    @staticmethod
    def _assert_worthless(server: Server, tokens: list[str], pairs: list[Pair], taken_id: int) -> None:
        """Check that these tokens serve nobody, though others have taken the ids of their users and sessions."""
        with server.client() as http:

            def log_in(name: str, password: str) -> Any:
                return http.post("/token", data={"username": name, "password": password}).json()

            admin = bearer(log_in("admin", ADMIN_PASSWORD)["access_token"])
            body = {"username": "bob", "email": "bob@example.com", "password": NEW_PASSWORD}
            made = http.post("/users", json=body, headers=admin)
            assert made.json().get("id") == taken_id, made.text
            pair = log_in("alice", PASSWORD)
            assert http.get("/users/me", headers=bearer(pair["access_token"])).status_code == 200
            while claims_of(log_in("bob", NEW_PASSWORD)["access_token"])["sid"] < claims_of(tokens[2])["sid"]:
                pass  # until each of their sessions' ids is somebody's
            for token in tokens:
                assert_refused(http.get("/users/me", headers=bearer(token)), "session_ended")
            for old in pairs:
                form = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}
                assert_refused(http.post("/token", data=form), "invalid_grant")


@ON_SQLITE
class TestBackup:
    def test_is_whole_while_the_service_writes(self, api: Api, backup: Path) -> None:
        alice, done = api.new_actor("alice"), threading.Event()
        ages: list[int] = []

        def write() -> None:
            while not done.is_set():
                ages.append(alice.put("/users/me", json={"age": 1 + len(ages) % 100}).json()["age"])

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            for number in range(3):
                before = len(ages)
                assert command("backup", f"{backup}{number}", url=api.server.url).returncode == 0
                with closing(sqlite3.connect(f"{backup}{number}")) as copy:
                    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                    [(version,)] = copy.execute("SELECT version FROM users WHERE username = 'alice'").fetchall()
                assert before <= version - 1 <= len(ages) + 1
            wait_until(lambda: len(ages) > 3)
        finally:
            done.set()
            writer.join()

    @pytest.mark.usefixtures("alice")
    def test_is_one_file_of_its_owner_without_sessions(self, api: Api, backup: Path) -> None:
        """S34."""
        assert "without its login sessions" in command("backup", str(backup), url=api.server.url).stdout
        assert [path.name for path in backup.parent.iterdir()] == [backup.name]
        assert backup.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(backup)) as copy:
            assert copy.execute("SELECT count(*) FROM login_sessions").fetchall() == [(0,)]
            assert copy.execute("SELECT username FROM users").fetchall() == [("admin",), ("alice",)]
        [(nonce, *_)] = api.sql("SELECT nonce FROM login_sessions ORDER BY id DESC")[:1]
        assert nonce.encode() not in backup.read_bytes()

    def test_replaces_no_file(self, api: Api, backup: Path) -> None:
        backup.write_text("mine")
        for file in (backup, sqlite_path(api.server.url)):
            refused = refused_to_start(command("backup", str(file), url=api.server.url))
            assert refused == f"cannot write {file}: File exists"
        assert backup.read_text() == "mine"
        assert list(backup.parent.iterdir()) == [backup]

    def test_is_not_in_the_way_of_the_next_one(self, api: Api, backup: Path) -> None:
        """What a copy leaves that is killed has a name of its own."""
        for name in (f"{backup.name}.partial", f".{backup.name}.partial"):
            backup.with_name(name).write_text("unfinished")
        assert command("backup", str(backup), url=api.server.url).returncode == 0

    @pytest.mark.parametrize("name", ["", ".", "/"])
    def test_to_a_folder_is_refused(self, api: Api, name: str) -> None:
        assert "File exists" in refused_to_start(command("backup", name, url=api.server.url))

    def test_that_cannot_be_written_is_refused(self, api: Api) -> None:
        refused = refused_to_start(command("backup", "/nowhere/at/all", url=api.server.url))
        assert refused == "cannot write /nowhere/at/all: No such file or directory"


def test_backup_of_a_database_in_memory_is_refused(backup: Path) -> None:
    assert "memory" in refused_to_start(command("backup", str(backup), url="sqlite://"))
