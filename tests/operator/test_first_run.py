"""The first start: real processes in fresh directories."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.alembic import sql
from tests.support.commands import command
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.processes import refused_to_start, wait_until
from tests.support.schema import insert_admin, migration_lock, waiting_for_migration
from tests.support.servers import Server, launched, serving
from tests.support.tutorial import connected

UVICORN = ("uvicorn", "userapi.main:app")
MADE = re.compile(r"username: admin\n +password: (\w{16}) +\(shown this once\)\n")


def log_in(server: Server, password: str, username: str = "admin") -> str:
    """The token of a login that must succeed."""
    with server.client() as http:
        answer = http.post("/token", data={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        assert http.get("/users", headers=bearer(token)).status_code == 200
        return token


@pytest.mark.slow
class TestFreshDirectory:
    def test_serve_makes_all_it_needs_and_shows_a_password_once(self, tmp_path: Path) -> None:
        with serving("", SECRET_KEY="", cwd=tmp_path, fresh=True) as server:
            [password] = MADE.findall(server.text)
            assert f"{server.base_url}/docs\n" in server.text
            token = log_in(server, password)
        key = tmp_path / "userapi.db.secret_key"
        assert len(key.read_text().strip()) >= 32
        assert password not in "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
        with serving("", SECRET_KEY="", cwd=tmp_path) as server:
            assert password not in server.text
            log_in(server, password)
            with server.client() as http:
                assert http.get("/users/me", headers=bearer(token)).status_code == 200

    def test_settings_come_from_a_file_too(self, tmp_path: Path) -> None:
        lines = ["DATABASE_URL=sqlite:///./mine.db", "FIRST_ADMIN_USERNAME=root", "FIRST_ADMIN_PASSWORD=Zk4m-Wq7x"]
        (tmp_path / ".env").write_text("\n".join(lines))
        with serving("", cwd=tmp_path) as server:
            log_in(server, "Zk4m-Wq7x", "root")
        assert (tmp_path / "mine.db").exists()

    def test_uvicorn_serves_as_well(self, tmp_path: Path) -> None:
        with serving("", SECRET_KEY="", cwd=tmp_path, command=UVICORN, fresh=True) as server:
            [password] = MADE.findall(server.text)
            log_in(server, password)

    def test_workers_share_the_key(self, tmp_path: Path) -> None:
        with serving("", "--workers", "2", SECRET_KEY="", cwd=tmp_path) as server:
            [password] = MADE.findall(server.text)
            token = log_in(server, password)
            for _ in range(30):  # each on a new connection, which either worker may get
                with server.client() as http:
                    assert http.get("/users/me", headers=bearer(token)).status_code == 200


class TestGeneratedPassword:
    REMINDER = "The generated password of admin still stands: change it with python -m userapi set-password admin"

    def serve(self, folder: Path) -> str:
        """What `serve` prints before it serves."""
        done = command("serve", url="", cwd=folder, SECRET_KEY="")
        assert "it serves" in done.stderr
        return done.stdout

    @pytest.mark.parametrize("serve", [("userapi", "serve"), UVICORN], ids=["serve", "uvicorn"])
    def test_is_printed_and_not_logged(self, tmp_path: Path, serve: tuple[str, ...]) -> None:
        with serving("", command=serve, cwd=tmp_path, SECRET_KEY="", LOG_FORMAT="json") as server:
            [password] = MADE.findall(server.text)
            [line] = [line for line in server.output if password in line]
        assert line == f"    password: {password}   (shown this once)\n"

    def test_is_on_standard_output_alone(self, tmp_path: Path) -> None:
        done = command("serve", url="", cwd=tmp_path, SECRET_KEY="")
        [password] = MADE.findall(done.stdout)
        assert password not in done.stderr

    def test_until_it_is_changed_each_start_says_so_once(self, tmp_path: Path) -> None:
        [password] = MADE.findall(first := self.serve(tmp_path))
        assert self.REMINDER not in first
        assert self.serve(tmp_path).splitlines().count(self.REMINDER) == 1
        # A login makes a hash of another cost of it, but it stands.
        for rounds, options in (("5", ["--workers", "2"]), ("4", [])):
            with serving("", *options, cwd=tmp_path, SECRET_KEY="", BCRYPT_ROUNDS=rounds) as server:
                log_in(server, password)
                assert server.text.count(self.REMINDER) == 1
        assert password not in self.serve(tmp_path)
        done = command("set-password", "admin", "--password-stdin", url="", cwd=tmp_path, stdin=ADMIN_PASSWORD)
        assert done.returncode == 0
        assert "generated" not in self.serve(tmp_path)

    @pytest.mark.parametrize("how", ["changed", "deleted"])
    def test_its_end_over_http_counts_too(self, tmp_path: Path, how: str) -> None:
        with serving("", cwd=tmp_path, SECRET_KEY="") as server, server.client() as http:
            [password] = MADE.findall(server.text)
            headers = bearer(log_in(server, password))
            if how == "changed":
                body = {"password": ADMIN_PASSWORD, "current_password": password}
                assert http.patch("/users/me", json=body, headers=headers).status_code == 200
            else:
                other = {"username": "boss", "email": "boss@example.com", "password": PASSWORD, "is_admin": True}
                assert http.post("/users", json=other, headers=headers).status_code == 201
                assert http.delete("/users/me", headers=headers).status_code == 200
        assert "generated" not in self.serve(tmp_path)

    def test_password_of_the_settings_is_no_matter(self, tmp_path: Path) -> None:
        for _ in range(2):
            done = command("serve", url="", cwd=tmp_path, SECRET_KEY="", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD)
            assert "generated" not in done.stdout


class TestFirstAdmin:
    def test_is_made_as_the_settings_say(self, url: str) -> None:
        admin = {"FIRST_ADMIN_USERNAME": "Root", "FIRST_ADMIN_EMAIL": "root@example.org"}
        with serving(url, FIRST_ADMIN_PASSWORD="Zk4m-Wq7x", **admin) as server:
            assert "Zk4m-Wq7x" not in server.text
            assert "FIRST_ADMIN_PASSWORD" in server.text
            log_in(server, "Zk4m-Wq7x", "root@example.org")
        with serving(url, FIRST_ADMIN_PASSWORD="Other-Saddle-8", **admin) as server:
            log_in(server, "Zk4m-Wq7x", "Root")

    def test_is_not_made_again_once_it_has_another_name(self, tmp_path: Path) -> None:
        """A user by another name is a user, too: the settings make no second admin beside it."""
        for name, made in (("root", True), ("admin", False)):
            given = {"FIRST_ADMIN_USERNAME": name, "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
            done = command(
                "serve", url="", cwd=tmp_path, SECRET_KEY="", FIRST_ADMIN_EMAIL=f"{name}@example.com", **given
            )
            assert "it serves" in done.stderr
            assert ("The first admin is made" in done.stdout) is made

    @pytest.mark.parametrize("kind", ["mysql"], indirect=True)
    def test_is_not_made_while_others_are_moved_in(self, url: str) -> None:
        """R21: where `adopt` cannot hide it, the table of users is empty until they are in, under a lock."""
        with ExitStack() as stack:
            with migration_lock(url):
                admin: Any = {"FIRST_ADMIN_USERNAME": "boss", "FIRST_ADMIN_EMAIL": "boss@example.com"}
                server = stack.enter_context(launched(url, **admin, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD))
                wait_until(lambda: waiting_for_migration(url) or sql(url, "SELECT id FROM users"))
                with connected(url) as connection:
                    insert_admin(connection)
            server.wait()
            assert "The first admin is made" not in server.text
        assert sql(url, "SELECT username FROM users") == [("admin",)]

    @pytest.mark.parametrize("kind", ["postgresql", "mysql"], indirect=True)
    def test_without_password_a_server_database_starts_and_says_how_to_make_one(self, url: str) -> None:
        with serving(url) as server:
            assert "python -m userapi create-admin" in server.text
            assert "password:" not in server.text

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("FIRST_ADMIN_PASSWORD", "weak"),
            ("FIRST_ADMIN_PASSWORD", "Password123"),
            ("FIRST_ADMIN_PASSWORD", "x1X" * 30),
            ("FIRST_ADMIN_USERNAME", "a b"),
            ("FIRST_ADMIN_EMAIL", "admin@localhost"),
        ],
    )
    def test_that_cannot_be_made_is_one_readable_line(self, tmp_path: Path, name: str, value: str) -> None:
        done = command("serve", "--port", "0", url="", cwd=tmp_path, **{name: value})
        message = refused_to_start(done)
        assert name in message
        assert "Value error" not in message
        if name == "FIRST_ADMIN_PASSWORD":
            assert value not in message
