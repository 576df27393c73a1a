"""Users go out, and come in again as the same."""

import csv
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, sqlite_path
from tests.support.insides import User
from tests.support.people import PASSWORD
from tests.support.statements import watched
from tests.support.transfer import assert_comes_in_again
from tests.support.users import PUBLIC


@pytest.fixture
def filled(api: Api) -> Api:
    """A service with a few users, no two alike."""
    api.new_user("alice", age=30, email="Ä.b+c@example.com")
    bob = api.new_user("Bob_2", is_admin=True)
    api.new_user("carol", email_verified=True)
    waiting = {
        "email_verified_at": datetime(2024, 2, 29, 12, 30, 45, 123456, tzinfo=UTC),
        "pending_email": "c@example.org",
    }
    api.execute(sa.update(User).where(col(User.username) == "carol").values(**waiting))
    api.admin.put(f"/users/{bob['id']}", json={"age": 7, "is_active": False})
    api.admin.delete(f"/users/{api.new_user('gone')['id']}")
    return api


class TestExport:
    @pytest.mark.parametrize("name", ["users.csv", "users.jsonl"])
    def test_imported_it_gives_the_same_users(self, filled: Api, kind: str, tmp_path: Path, name: str) -> None:
        """Ids, times and hashes included."""
        first = tmp_path / name
        assert_comes_in_again(filled.server.url, kind, first)
        assert len(first.read_text().splitlines()) == 4 + name.endswith("csv")

    def test_names_columns_as_the_api_does_and_no_hash_unless_asked(self, filled: Api, tmp_path: Path) -> None:
        """S11."""
        file = tmp_path / "users.csv"
        done = command("export", str(file), url=filled.server.url)
        assert (done.returncode, done.stderr) == (0, "4 users are exported\n")
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert set(rows[0]) == PUBLIC | {"email_claimed"}
        assert "$2" not in file.read_text()
        listed = {user["username"]: user for user in filled.admin.get("/users").json()}
        for row in rows:
            user = listed[row["username"]]
            assert row == {
                field: ""
                if user[field] is None
                else user[field]
                if field == "email"
                else json.dumps(user[field]).strip('"')
                for field in PUBLIC
            } | {"email_claimed": "false"}

    @ON_SQLITE
    def test_file_is_its_owners_and_takes_the_place_of_an_older_one_when_it_is_whole(
        self, filled: Api, tmp_path: Path
    ) -> None:
        """S34."""
        file = tmp_path / "users.jsonl"
        file.write_text("older")
        file.chmod(0o644)
        assert command("export", str(file), url=filled.server.url).returncode == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir()] == [file.name]
        assert json.loads(file.read_text().splitlines()[1])["username"] == "alice"

    @ON_SQLITE
    def test_replaces_nothing_but_a_file_of_its_name(self, filled: Api, tmp_path: Path) -> None:
        """Neither a pipe or a device nor a link, and never the database that it reads."""
        url, linked, link, pipe = filled.server.url, tmp_path / "linked", tmp_path / "link", tmp_path / "pipe"
        linked.touch()
        link.symlink_to(linked)
        assert command("export", str(link), url=url).returncode == 0
        assert link.is_symlink()
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        assert command("export", str(pipe), url=url).returncode == 0
        assert os.read(reader, 1_000_000) == linked.read_bytes() != b""
        os.close(reader)
        assert pipe.is_fifo()
        database = sqlite_path(url)
        for file in (database, database.with_name(f"{database.name}-wal")):
            done = command("export", str(file), url=url)
            assert (done.returncode, "is in use" in done.stderr) == (1, True)
        assert command("export", "-", url=url).stdout == linked.read_text()

    @ON_SQLITE
    def test_to_standard_output_it_is_json_lines_unless_csv_is_asked_for(self, filled: Api) -> None:
        lines = command("export", "-", url=filled.server.url).stdout.splitlines()
        assert [json.loads(line).keys() for line in lines] == [PUBLIC | {"email_claimed"}] * 4
        assert command("export", "-", "--format", "csv", url=filled.server.url).stdout.startswith("id,username,")

    @ON_SQLITE
    @pytest.mark.parametrize("name", ["nowhere/users.csv", "."])
    def test_file_that_cannot_be_written(self, filled: Api, tmp_path: Path, name: str) -> None:
        done = command("export", str(tmp_path / name), url=filled.server.url)
        assert done.returncode in {1, 2}
        assert "Traceback" not in done.stderr

    def test_is_of_one_moment(self, filled: Api, tmp_path: Path) -> None:
        """It reads in chunks of 2,000, and what is made meanwhile is not among them."""
        lines = [
            json.dumps({"username": f"user{n}", "email": f"user{n}@example.com", "hashed_password": "!"})
            for n in range(2100)
        ]
        assert command("import", "-", stdin="\n".join(lines), url=filled.server.url).returncode == 0
        file = tmp_path / "users.jsonl"

        def make_one_more(statement: str) -> None:
            if statement.startswith("SELECT users.id") and not made:
                made.append(1)
                filled.new_user("late")

        made: list[int] = []
        with watched(after=make_one_more):
            assert command("export", str(file), url=filled.server.url).returncode == 0
        assert made
        names = [json.loads(line)["username"] for line in file.read_text().splitlines()]
        assert len(names) == 2104
        assert "late" not in names
        assert filled.log_in("late", PASSWORD)
