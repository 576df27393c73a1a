"""Users come in from files."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.events import named
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.processes import Finished, refused_to_start
from tests.support.users import INVALID_VALUES, stored
from tests.transfer.test_foreign_hashes import LONG_HASH

HASH = "$2b$12$" + "a" * 53


def take(api: Api, text: str, *options: str) -> Finished:
    """Import what comes by standard input."""
    return command("import", "-", *options, stdin=text, url=api.server.url)


def line(name: str = "alice", **fields: Any) -> str:
    """A line of JSON about a user."""
    return json.dumps({"username": name, "email": f"{name}@example.com", "hashed_password": HASH} | fields) + "\n"


def counts(done: Finished) -> list[int]:
    """How many users the command says are new, changed, there already, refused."""
    return [int(word) for word in done.stdout.replace(",", " ").split() if word.isdigit()]


class TestFile:
    def test_csv_with_passwords(self, api: Api) -> None:
        text = (
            "username,email,password,age,is_admin,is_active\n"
            f"alice,alice@example.com,{PASSWORD},30,true,\n"
            f'"bob",bob@example.com,"{NEW_PASSWORD}",,,false\n'
        )
        done = take(api, text)
        assert (done.returncode, counts(done), done.stderr) == (0, [2, 0, 0, 0], "")
        alice = api.log_in("alice").user
        assert (alice["age"], alice["is_admin"], alice["is_active"], alice["updated_at"]) == (30, True, True, None)
        bob = api.admin.get("/users?q=bob").json()[0]
        assert (bob["age"], bob["is_admin"], bob["is_active"]) == (None, False, False)

    def test_json_lines_keep_ids_and_times(self, api: Api) -> None:
        [(admin_id,)] = api.sql("SELECT id FROM users")
        times = {"created_at": "2024-02-29T12:30:45.123456Z", "updated_at": "2024-03-01T01:00:00+02:00"}
        done = take(api, line(id=admin_id + 1000, **times) + "\n" + line("bob"))
        assert (done.returncode, done.stderr) == (0, "")
        alice = api.admin.get(f"/users/{admin_id + 1000}").json()
        assert alice["created_at"] == times["created_at"]
        assert alice["updated_at"] == "2024-02-29T23:00:00Z"
        assert api.new_user("carol")["id"] > admin_id + 1000

    def test_rows_need_not_give_the_same_fields(self, api: Api) -> None:
        text = line() + line("bob", age=7, locale="de") + line("carol", is_active=False)
        assert counts(take(api, text)) == [3, 0, 0, 0]
        told = {user["username"]: user for user in api.admin.get("/users").json()}
        assert [told[name]["age"] for name in ("alice", "bob", "carol")] == [None, 7, None]
        assert [told[name]["locale"] for name in ("alice", "bob", "carol")] == [None, "de", None]
        assert [told[name]["is_active"] for name in ("alice", "bob", "carol")] == [True, True, False]

    @ON_SQLITE
    def test_mark_of_utf8_windows_lines_and_columns_in_any_order(self, api: Api) -> None:
        text = f"\ufeffhashed_password,email,username\r\n{HASH},ä@example.com,alice\r\n\r\n"
        assert counts(take(api, text)) == [1, 0, 0, 0]
        assert api.sql("SELECT email FROM users WHERE username = 'alice'") == [("ä@example.com",)]

    @ON_SQLITE
    def test_mapped_columns(self, api: Api) -> None:
        text = f"id,mail,login,secret,more,more\nx7,alice@example.com,alice,{HASH},x,y\n"
        done = take(api, text, "--map", "id=,email=mail,username=login", "--map", "hashed_password=secret")
        assert (done.returncode, counts(done)) == (0, [1, 0, 0, 0])

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("text", "options", "word"),
        [
            ("", [], "empty"),
            ("\n \n", [], "empty"),
            ("username,mail\n", [], "mail"),
            ("username,email\n", ["--map", "email=mail"], "mail"),
            ("username,email\n", ["--map", "mail=email"], "mail"),
            ("username,email\n", ["--map", "email"], "field=column"),
            ("username,email,username\n", [], "there is more than one column username"),
            ("mail,x,x,mail\n", ["--map", "email=mail"], "there is more than one column mail"),
        ],
    )
    def test_columns_that_are_not_there_stop_it(self, api: Api, text: str, options: list[str], word: str) -> None:
        assert word in refused_to_start(take(api, text, *options))

    @ON_SQLITE
    @pytest.mark.parametrize("options", [[], ["--map", "hashed_password=secret"]])
    @pytest.mark.parametrize(
        ("text", "word"),
        [
            (f"alice,alice@example.com,{PASSWORD}\n", "the first line of CSV must be a header"),
            ("alice,alice@example.com,Zk4mWq7xZk4mWq7x\n", "the first line of CSV must be a header"),
            (f"alice;alice@example.com;{HASH}\n", "the first line of CSV must be a header"),
            (f"[{line().strip()}]\n", "JSON Lines"),
            (f" \n [\n{line()}]\n", "JSON Lines"),
            (f"username,{PASSWORD},{HASH},nickname\n", "n"),
            ("username," + "x" * 41 + "," + "x" * 3000, "n"),
        ],
    )
    def test_what_stands_in_the_place_of_a_header_is_not_told(
        self, api: Api, text: str, word: str, options: list[str]
    ) -> None:
        """S11."""
        told = refused_to_start(take(api, text, *options))
        assert word in told
        assert not [secret for secret in (PASSWORD, HASH, "Zk4mWq7x", "alice", "x" * 41) if secret in told]

    @ON_SQLITE
    def test_only_columns_that_have_a_name_are_told(self, api: Api) -> None:
        text = f"username,{PASSWORD},nickname,{HASH}\n"
        assert refused_to_start(take(api, text)).startswith("no such column: nickname, 2 not shown; there are ")
        told = refused_to_start(take(api, text, "--map", "email=mail"))
        assert told == "there is no column mail; there are username, nickname, 2 not shown"

    @ON_SQLITE
    def test_json_lines_may_begin_with_a_blank(self, api: Api) -> None:
        assert counts(take(api, " " + line())) == [1, 0, 0, 0]

    @ON_SQLITE
    @pytest.mark.parametrize(
        "args", [[], ["-", "--from", "sqlite:///x.db"], ["nowhere.csv"], ["--from", "oracle://x"], ["--from", "x"]]
    )
    def test_wrong_usage(self, api: Api, args: list[str]) -> None:
        assert command("import", *args, stdin="", url=api.server.url).returncode == 2

    @ON_SQLITE
    @pytest.mark.parametrize("url", ["sqlite:///nowhere/x.db", "postgresql://postgres@127.0.0.1:1/x"])
    def test_source_that_cannot_be_read_is_named(self, api: Api, url: str) -> None:
        assert f"cannot use the database {url}" in refused_to_start(
            command("import", "--from", url, url=api.server.url)
        )

    @ON_SQLITE
    def test_missing_schema_names_the_command_that_helps(self, empty_url: str) -> None:
        done = command("import", "-", stdin=line(), url=empty_url)
        assert "python -m userapi migrate" in refused_to_start(done)


class TestRefusedRows:
    BAD = (
        line("okay")
        + line("al")
        + "[]\n"
        + "{\n"
        + line("alice")
        + line("ALICE", email="x@example.com")
        + line("bob", age=0)
    )
    REASONS = ("line 2: username", "line 3: ", "line 4: ", "line 6: username: is that of line 5, too", "line 7: age")

    def test_each_is_told_and_none_is_imported(self, api: Api) -> None:
        before = stored(api)
        done = take(api, self.BAD)
        assert (done.returncode, counts(done)) == (1, [2, 0, 0, 5])
        assert "nothing is imported" in done.stdout
        told = done.stderr.splitlines()
        assert len(told) == 5
        assert all(line.startswith(reason) for line, reason in zip(told, self.REASONS, strict=True))
        assert stored(api) == before

    def test_others_are_imported_if_errors_are_skipped(self, api: Api, tmp_path: Path) -> None:
        errors = tmp_path / "errors.csv"
        done = take(api, self.BAD, "--skip-errors", "--errors", str(errors))
        assert (done.returncode, counts(done)) == (0, [2, 0, 0, 5])
        assert api.sql("SELECT username FROM users WHERE username <> 'admin' ORDER BY id") == [("okay",), ("alice",)]
        written = errors.read_text().splitlines()
        assert written[0] == "line,username,email,reason"
        assert [row.split(",")[0] for row in written[1:]] == ["2", "3", "4", "6", "7"]
        assert stat.S_IMODE(errors.stat().st_mode) == 0o600

    @ON_SQLITE
    def test_file_that_is_read_is_not_written_to(self, api: Api, tmp_path: Path) -> None:
        file = tmp_path / "users.csv"
        file.write_text("username,email,password\nx,bad,y\n")
        done = command("import", str(file), "--errors", str(file), url=api.server.url)
        assert (done.returncode, "is in use" in done.stderr) == (1, True)
        assert file.read_text().startswith("username,")

    def test_many_are_told_shortly(self, api: Api) -> None:
        done = take(api, "".join(line("x") for _ in range(30)))
        assert len(done.stderr.splitlines()) == 21
        assert done.stderr.endswith("... and 10 more: --errors FILE writes all\n")

    @ON_SQLITE
    @pytest.mark.parametrize("name", INVALID_VALUES)
    def test_rules_are_those_of_the_api(self, api: Api, name: str) -> None:
        rows = [
            {"hashed_password": None if name == "password" else HASH, name: bad}
            for bad in INVALID_VALUES[name]
            if bad != ""
        ]
        done = take(api, "".join(line(f"user{number}", **row) for number, row in enumerate(rows)))
        assert counts(done) == [0, 0, 0, len(rows)]
        assert all(f": {name}" in told for told in done.stderr.splitlines()[:20]), done.stderr

    @ON_SQLITE
    @pytest.mark.parametrize("update", [True, False])
    def test_rules_of_the_address_that_waits_are_those_of_the_other(self, api: Api, update: bool) -> None:
        bad = [address for address in [*INVALID_VALUES["email"], "x@y.de\r\nBcc: y@z.de"] if address != ""]
        text = "".join(line(f"user{number}", pending_email=address) for number, address in enumerate(bad))
        done = take(api, text, *(["--update"] if update else []))
        assert counts(done) == [0, 0, 0, len(bad)]
        assert all(": pending_email: " in told for told in done.stderr.splitlines()), done.stderr

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"hashed_password": None}, "hashed_password: there is neither a password nor a hash"),
            ({"password": PASSWORD}, "password: there is a hash, too"),
            ({"hashed_password": None, "password": "Password1!"}, "password: "),
            ({"hashed_password": None, "password": "Zk4m-alice-7"}, "password: The password contains the username"),
            ({"hashed_password": None, "password": HASH}, "password: is a hash"),
            ({"hashed_password": PASSWORD}, "hashed_password: is no hash"),
            ({"hashed_password": "$2b$19$" + "a" * 53}, "hashed_password: would take too long"),
            ({"id": 2_000_000_001}, "id: at most"),
            ({"id": 0}, "id: "),
            ({"created_at": "yesterday"}, "created_at: "),
            ({"nickname": "Al"}, "no such column: nickname"),
            ({"username": "admin"}, "Username already registered"),
            ({"email": "ADMIN@example.com"}, "Email already registered"),
        ],
    )
    def test_reason(self, api: Api, fields: dict[str, Any], reason: str) -> None:
        """S11: neither passwords nor hashes are told."""
        done = take(api, line(**fields))
        assert (done.returncode, counts(done)) == (1, [0, 0, 0, 1])
        assert done.stderr.startswith(f"line 1: {reason}"), done.stderr
        assert not [secret for secret in (PASSWORD, HASH, "Password1!") if secret in done.stderr + done.stdout]

    @ON_SQLITE
    def test_taken_id(self, api: Api) -> None:
        [(admin_id,)] = api.sql("SELECT id FROM users")
        assert "line 1: id: Another user has it" in take(api, line(id=admin_id)).stderr

    @ON_SQLITE
    @pytest.mark.parametrize(
        "row", ['"a"b,c@example.com,x', "alice", "a,b,c,d", '"alice', "alice,alice@example.com,\udcff" + HASH]
    )
    def test_broken_csv(self, api: Api, row: str) -> None:
        data = f"username,email,hashed_password\nokay,okay@example.com,{HASH}\n{row}\n"
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"userapi_{os.getpid()}.csv"
        path.write_bytes(data.encode(errors="surrogateescape"))
        try:
            done = command("import", str(path), url=api.server.url)
        finally:
            path.unlink()
        assert (done.returncode, counts(done)) == (1, [1, 0, 0, 1])
        assert done.stderr.startswith("line 3: ")

    @pytest.mark.parametrize("form", ["csv", "jsonl", "quoted"])
    def test_line_that_is_too_long_is_refused_like_others(self, api: Api, form: str) -> None:
        long = "x" * (2**21 + 7)
        text = line("first") + line(long) + line("last") + line("al")
        if form != "jsonl":
            middle = f"{long},x,x" if form == "csv" else f'"a\n{long}'
            rows = [f"first,first@example.com,{HASH}", middle, f"last,last@example.com,{HASH}", "al,al@example.com,!"]
            text = "username,email,hashed_password\n" + "\n".join(rows)
        number = {"jsonl": 2, "csv": 3, "quoted": 3}[form]
        done = take(api, text, "--skip-errors")
        assert (done.returncode, counts(done)) == (0, [2, 0, 0, 2])
        told = done.stderr.splitlines()
        assert told[0] == f"line {number}: is longer than 1048576 bytes"
        assert told[1].startswith(f"line {number + (3 if form == 'quoted' else 2)}: username")
        assert len(told) == 2

    @ON_SQLITE
    def test_first_object_that_is_too_long_is_refused_like_others(self, api: Api) -> None:
        done = take(api, line("x" * 2**20) + line(), "--skip-errors")
        assert (counts(done), done.stderr) == ([1, 0, 0, 1], "line 1: is longer than 1048576 bytes\n")

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (f"username,email,hashed_password\ralice,a@example.com,{HASH}\r", "lines must end with LF or CR LF"),
            (f"username,email,hashed_password\r{'x' * 2**20}\r", "lines must end with LF or CR LF"),
            ("username," + "x" * 131_073 + "\n", "the header is no CSV: field larger than field limit"),
            ("username," + "x" * 2**20 + "\n", "the header is longer than 1048576 bytes"),
            ('username,"email\n', "the header is no CSV: "),
        ],
    )
    def test_header_that_cannot_be_read(self, api: Api, text: str, told: str) -> None:
        assert refused_to_start(take(api, text)).startswith(told)

    def test_dry_run_writes_nothing(self, api: Api) -> None:
        before = stored(api)
        done = take(api, line() + line("bob"), "--dry-run")
        assert (done.returncode, counts(done)) == (0, [2, 0, 0, 0])
        assert stored(api) == before


class TestAgain:
    def test_what_is_there_already_is_left_alone(self, api: Api) -> None:
        text = line(created_at="2024-02-29T12:30:45Z") + line("bob", hashed_password=None, password=PASSWORD)
        assert counts(take(api, text)) == [2, 0, 0, 0]
        before = stored(api)
        assert counts(take(api, text + line("carol"))) == [1, 0, 2, 0]
        assert stored(api)[: len(before)] == before

    @ON_SQLITE
    @pytest.mark.parametrize("other", [{"age": 9}, {"hashed_password": LONG_HASH}, {"email": "other@example.com"}])
    def test_what_differs_is_refused(self, api: Api, other: dict[str, Any]) -> None:
        assert counts(take(api, line())) == [1, 0, 0, 0]
        assert "already registered" in take(api, line(**other)).stderr


class TestUpdate:
    def test_changes_what_the_row_gives_and_makes_who_is_not_there(self, api: Api) -> None:
        alice = api.new_actor("alice", age=30)
        text = "username,email,age,hashed_password\nALICE,,31,\nbob,bob@example.com,,!\n"
        done = take(api, text, "--update")
        assert (done.returncode, counts(done)) == (0, [1, 1, 0, 0])
        changed = alice.get("/users/me")
        assert (changed.json()["username"], changed.json()["age"]) == ("ALICE", 31)
        assert changed.json()["updated_at"] is not None
        assert changed.headers["ETag"] == '"2"'
        assert counts(take(api, text, "--update")) == [0, 0, 2, 0]

    def test_finds_users_by_id_before_their_name(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert counts(take(api, json.dumps({"id": alice.id, "username": "anna"}), "--update")) == [0, 1, 0, 0]
        assert alice.get("/users/me").json()["username"] == "anna"

    def test_new_password_and_deactivation_end_sessions(self, api: Api) -> None:
        """S1."""
        alice, bob = api.new_actor("alice"), api.new_actor("bob")
        text = f"username,password,is_active\nalice,{NEW_PASSWORD},\nbob,,false\n"
        assert counts(take(api, text, "--update")) == [0, 2, 0, 0]
        for actor in (alice, bob):
            assert_refused(actor.get("/users/me"), "session_ended")
        api.log_in("alice", NEW_PASSWORD)

    def test_another_address_is_not_verified(self, api: Api) -> None:
        """S1: nobody has read its mail yet."""
        alice = api.new_user("alice", email_verified=True)["id"]
        assert counts(take(api, line(email="ALICE@example.com"), "--update")) == [0, 1, 0, 0]
        assert api.admin.get(f"/users/{alice}").json()["email_verified_at"] is not None
        assert counts(take(api, line(email="other@example.com"), "--update")) == [0, 1, 0, 0]
        assert api.admin.get(f"/users/{alice}").json()["email_verified_at"] is None

    @pytest.mark.parametrize("address", ["alice@example.com", "other@example.com"])
    def test_operator_may_say_that_an_address_is_verified(self, api: Api, address: str) -> None:
        """S35: which is an event."""
        alice = api.new_user("alice", email_verified=True)
        times = {"created_at": "2024-02-29T12:30:45.123456Z", "email_verified_at": "2024-02-29T12:31:00Z"}
        text = json.dumps({"username": "alice", "email": address} | times)
        assert counts(take(api, text, "--update")) == [0, 1, 0, 0]
        found = api.admin.get(f"/users/{alice['id']}").json()
        assert {name: found[name] for name in times} == times
        assert named(api, "user_changed")["changes"].keys() - {"email"} == times.keys()
        assert counts(take(api, text, "--update")) == [0, 0, 1, 0]

    def test_same_time_for_another_address_verifies_it(self, api: Api) -> None:
        alice = api.new_user("alice", email_verified=True)
        at = alice["email_verified_at"]
        assert counts(take(api, line(email="other@example.com", email_verified_at=at), "--update")) == [0, 1, 0, 0]
        assert api.admin.get(f"/users/{alice['id']}").json()["email_verified_at"] == at

    def test_new_password_drops_the_address_that_waits(self, api: Api) -> None:
        """S1: whoever asked for it may be why there is a new password."""
        for name in ("alice", "bob", "carol"):
            api.new_user(name)
        waiting = {"pending_email": "new@example.com"}
        rows: list[dict[str, Any]] = [{"username": name} | waiting for name in ("alice", "bob", "carol")]
        assert counts(take(api, "\n".join(map(json.dumps, rows)), "--update")) == [0, 3, 0, 0]
        rows = [rows[0] | {"hashed_password": HASH}, {"username": "bob", "hashed_password": HASH}, rows[2] | {"age": 9}]
        assert counts(take(api, "\n".join(map(json.dumps, rows)), "--update")) == [0, 3, 0, 0]
        kept = api.sql("SELECT pending_email FROM users WHERE username <> 'admin' ORDER BY id")
        assert [address for (address,) in kept] == ["new@example.com", None, "new@example.com"]

    def test_time_of_the_change_is_its_own(self, api: Api) -> None:
        alice = api.new_user("alice")
        row = {"username": "alice", "updated_at": "2024-02-29T12:30:45Z"}
        assert counts(take(api, json.dumps(row), "--update")) == [0, 0, 1, 0]
        assert counts(take(api, json.dumps(row | {"age": 9}), "--update")) == [0, 1, 0, 0]
        assert api.admin.get(f"/users/{alice['id']}").json()["updated_at"] > alice["created_at"]

    def test_last_admin_stays(self, api: Api) -> None:
        """S13."""
        api.new_user("alice")
        before = stored(api)
        done = take(api, "username,is_admin,age\nalice,,9\nadmin,false,\n", "--update")
        assert refused_to_start(done) == "At least one active admin must remain"
        assert stored(api) == before
        assert counts(take(api, "username,is_admin\nadmin,false\nalice,true\n", "--update")) == [0, 2, 0, 0]

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("alice,bob@example.com,", "Email already registered"),
            ("alice,x,", "email: "),
            ("carol,,9", "email: "),
            ("carol,carol@example.com,9", "hashed_password: there is neither"),
        ],
    )
    def test_refused(self, api: Api, row: str, reason: str) -> None:
        api.new_user("alice")
        api.new_user("bob")
        before = stored(api)
        assert take(api, f"username,email,age\n{row}\n", "--update").stderr.startswith(f"line 2: {reason}")
        assert stored(api) == before
