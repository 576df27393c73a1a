"""The command line: python -m userapi."""

import os
import pty
import subprocess
import sys
import time

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.openapi import openapi
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.processes import ROOT, environment, refused_to_start, run
from tests.support.servers import launched
from userapi import __version__


def type_into(url: str, *args: str, dialogue: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command in a terminal, answering its prompts; give its exit code and what the terminal showed."""
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "userapi", *args],
        env=environment(url),
        cwd=ROOT,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    shown = ""
    deadline = time.monotonic() + 120
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        for prompt, answer in [*dialogue, ("\0", "")]:
            seen = len(shown)
            while prompt not in shown[seen:]:
                assert time.monotonic() < deadline, shown
                try:
                    shown += screen.read(1024).decode()
                except OSError:  # the command has ended
                    return process.wait(60), shown
            screen.write(answer.encode() + b"\n")
    raise AssertionError(shown)


class TestMigrate:
    def test_says_what_it_did(self, empty_url: str) -> None:
        first, second = (command("migrate", url=empty_url) for _ in range(2))
        assert first.stdout.startswith("The schema went from nothing to ")
        assert second.stdout == f"The schema is at {first.stdout.split()[-1]} already\n"
        assert (first.returncode, second.returncode, first.stderr + second.stderr) == (0, 0, "")

    def test_check_and_sql_exclude_each_other(self, empty_url: str) -> None:
        """What only one of them says with its exit code must not be lost."""
        done = command("migrate", "--check", "--sql", url=empty_url)
        assert (done.returncode, done.stdout) == (2, "")


class TestStreams:
    """The standard streams of whoever calls: closed, or full."""

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("set-password admin <&-", "error: no terminal to ask for the password: use --password-stdin\n"),
            ("import - <&-", "error: the file is empty: the first line must be a header (CSV) or a JSON object\n"),
            ("openapi > /dev/full", "error: [Errno 28] No space left on device\n"),
            ("migrate --check > /dev/full", "error: [Errno 28] No space left on device\n"),
        ],
    )
    def test_are_no_cause_of_a_traceback(self, api: Api, line: str, told: str) -> None:
        shell = f"{sys.executable} -m userapi {line}"
        settings = environment(api.server.url)
        done = subprocess.run(["sh", "-c", shell], env=settings, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, told)


class TestCreateAdmin:
    def test_reads_the_password_from_standard_input(self, api: Api) -> None:
        args = ["--username", "boss", "--email", "boss@example.com", "--password-stdin"]
        done = command("create-admin", *args, stdin=PASSWORD + "\nmore\n", url=api.server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "boss" in done.stdout
        assert PASSWORD not in done.stdout
        boss = api.log_in("boss")
        assert boss.user["email"] == "boss@example.com"
        assert boss.get("/users").status_code == 200

    @ON_SQLITE
    def test_without_options_makes_the_first_admin_of_the_settings(self, url: str) -> None:
        first = {"FIRST_ADMIN_USERNAME": "root", "FIRST_ADMIN_EMAIL": "root@example.com"}
        done = command("create-admin", "--password-stdin", url=url, stdin=PASSWORD, **first)
        assert (done.returncode, done.stdout) == (0, "root is made, an active admin\n")

    @ON_SQLITE
    def test_asks_twice_in_a_terminal_and_shows_no_password(self, api: Api) -> None:
        dialogue = [
            ("Password:", PASSWORD),
            ("Repeat for confirmation:", NEW_PASSWORD),
            ("Password:", PASSWORD),
            ("Repeat for confirmation:", PASSWORD),
        ]
        args = ["--username", "boss", "--email", "boss@example.com"]
        code, shown = type_into(api.server.url, "create-admin", *args, dialogue=dialogue)
        assert code == 0, shown
        assert PASSWORD not in shown
        assert NEW_PASSWORD not in shown
        assert api.log_in("boss").user["is_admin"] is True

    @ON_SQLITE
    def test_refuses_without_a_terminal(self, api: Api) -> None:
        done = command("create-admin", "--username", "boss", "--email", "boss@example.com", url=api.server.url)
        assert "--password-stdin" in refused_to_start(done)
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    @pytest.mark.parametrize("username", ["alice", "ALICE"])
    def test_existing_user_is_left_alone(self, api: Api, username: str) -> None:
        api.new_user("alice")
        before = api.sql("SELECT * FROM users ORDER BY id")
        args = ["--username", username, "--email", "new@example.com", "--password-stdin"]
        done = command("create-admin", *args, stdin=NEW_PASSWORD, url=api.server.url)
        assert "--promote" in refused_to_start(done)
        assert api.sql("SELECT * FROM users ORDER BY id") == before

    def test_taken_email_is_refused(self, api: Api) -> None:
        args = ["--username", "boss", "--email", "ADMIN@example.com", "--password-stdin"]
        done = command("create-admin", *args, stdin=PASSWORD, url=api.server.url)
        assert refused_to_start(done) == "Email already registered"

    def test_promote_makes_an_existing_user_an_active_admin(self, api: Api) -> None:
        alice = api.new_user("alice")
        assert api.admin.put(f"/users/{alice['id']}", json={"is_active": False}).status_code == 200
        for words in ("alice is an active admin now\n", "alice is an active admin already\n"):
            done = command("create-admin", "--username", "alice", "--promote", url=api.server.url)
            assert (done.returncode, done.stdout, done.stderr) == (0, words, "")
        promoted = api.log_in("alice")
        assert (promoted.user["is_admin"], promoted.user["is_active"]) == (True, True)

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("username", "email", "password", "named"),
        [
            ("a b", "boss@example.com", PASSWORD, "username"),
            ("boss", "boss@localhost", PASSWORD, "email"),
            ("boss", "boss@example.com", "weak-1", "password"),
            ("boss", "boss@example.com", "", "password"),
            ("boss", "boss@example.com", "Password123", "password"),
            ("boss", "boss@example.com", "Zk4m-boss-7", "password"),
        ],
    )
    def test_bad_value_is_one_readable_line(
        self, api: Api, username: str, email: str, password: str, named: str
    ) -> None:
        args = ["--username", username, "--email", email, "--password-stdin"]
        message = refused_to_start(command("create-admin", *args, stdin=password, url=api.server.url))
        assert named in message
        assert "Value error" not in message
        assert not password or password not in message
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    @ON_SQLITE
    @pytest.mark.parametrize("args", [["create-admin", "--password-stdin"], ["set-password", "x", "--password-stdin"]])
    def test_missing_schema_names_the_command_that_helps(self, empty_url: str, args: list[str]) -> None:
        message = refused_to_start(command(*args, stdin=PASSWORD, url=empty_url))
        assert "python -m userapi migrate" in message


class TestSetPassword:
    @pytest.mark.parametrize("name", ["alice", "ALICE"])
    def test_sets_it_and_ends_all_sessions(self, api: Api, name: str) -> None:
        """S1."""
        alice = api.new_actor("alice")
        done = command("set-password", name, "--password-stdin", stdin=NEW_PASSWORD, url=api.server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert NEW_PASSWORD not in done.stdout
        assert_refused(alice.get("/users/me"), "session_ended")
        assert_refused(api.http.post("/token", data={"username": "alice", "password": PASSWORD}), "invalid_credentials")
        assert api.log_in("alice", NEW_PASSWORD).user["updated_at"] is not None

    @ON_SQLITE
    def test_is_told_as_the_operators_doing(self, api: Api, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever reads what happened sees that no user did it; so with a promotion."""
        alice = api.new_user("alice")
        with caplog.at_level("INFO", "userapi.events"):
            for args in (
                ["set-password", "alice", "--password-stdin"],
                ["create-admin", "--username", "alice", "--promote"],
            ):
                assert command(*args, stdin=NEW_PASSWORD, url=api.server.url).returncode == 0
        told = {
            record.getMessage(): record.__dict__["fields"]
            for record in caplog.records
            if record.name.endswith("events")
        }
        for name in ("password_changed", "admin_granted"):
            assert (told[name]["user_id"], told[name]["by"]) == (alice["id"], "operator")

    @ON_SQLITE
    def test_asks_twice_in_a_terminal(self, api: Api) -> None:
        api.new_user("alice")
        dialogue = [("Password:", NEW_PASSWORD), ("Repeat for confirmation:", NEW_PASSWORD)]
        code, shown = type_into(api.server.url, "set-password", "alice", dialogue=dialogue)
        assert code == 0, shown
        assert NEW_PASSWORD not in shown
        api.log_in("alice", NEW_PASSWORD)

    @ON_SQLITE
    @pytest.mark.parametrize("name", ["nobody", "", "\ud800", "alice@nowhere.example"])
    def test_unknown_user_is_refused(self, api: Api, name: str) -> None:
        done = command("set-password", name, "--password-stdin", stdin=NEW_PASSWORD, url=api.server.url)
        assert refused_to_start(done) == "User not found"

    @ON_SQLITE
    def test_takes_an_email_address_for_a_name_or_says_it_does_not(self, api: Api) -> None:
        api.new_user("alice")
        done = command("set-password", "alice@example.com", "--password-stdin", stdin=NEW_PASSWORD, url=api.server.url)
        if done.returncode == 0:
            api.log_in("alice", NEW_PASSWORD)
        else:
            assert refused_to_start(done) == "User not found"

    @ON_SQLITE
    @pytest.mark.parametrize("password", ["weak-1", "", "Password123", "x1X" * 30, "Zk4m-Alice-7"])
    def test_bad_password_changes_nothing(self, api: Api, password: str) -> None:
        alice = api.new_actor("alice")
        message = refused_to_start(
            command("set-password", "alice", "--password-stdin", stdin=password + "\n", url=api.server.url)
        )
        assert "password" in message.lower()
        assert not password or password not in message
        assert alice.get("/users/me").status_code == 200
        api.log_in("alice")


class TestHelp:
    def test_every_command_is_listed_with_what_it_does(self) -> None:
        done = run("userapi", "--help", url="")
        assert done.returncode == 0
        for name in ("serve", "migrate", "create-admin", "set-password"):
            assert name in done.stdout

    def test_version_is_one(self) -> None:
        assert command("--version", url="sqlite://").stdout == f"userapi, version {__version__}\n"
        assert openapi()["info"]["version"] == __version__

    @ON_SQLITE
    def test_options_of_serve_need_not_name_it(self, empty_url: str) -> None:
        with launched(empty_url, command=("userapi",)) as server:  # with --port
            server.wait()
            with server.client() as http:
                assert http.get("/health/ready").status_code == 200

    @pytest.mark.parametrize("args", [["nonsense"], ["serve", "--port", "x"], ["serve", "--workers", "0"]])
    def test_wrong_usage_is_told_without_a_traceback(self, args: list[str]) -> None:
        done = command(*args, url="sqlite://")
        assert done.returncode == 2
        assert "Usage:" in done.stderr
        assert "Traceback" not in done.stderr
