"""The first start, and the starts that are refused: real processes in fresh directories."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service import ROOT, SECRET_KEY, Server, bearer, launched, refused_to_start, run, serving

SERVE, MIGRATE = ("userapi", "serve"), ("userapi", "migrate")
UVICORN = ("uvicorn", "userapi.main:app")
# No test reaches it: the refusal comes first.
SERVER_URLS = ["postgresql://nobody:Hidden-1@127.0.0.1:9/none", "mysql+pymysql://nobody:Hidden-1@127.0.0.1:9/none"]
MADE = re.compile(r"username: admin\n +password: (\w{16}) +\(shown this once\)\n")


def log_in(server: Server, password: str, username: str = "admin") -> str:
    """The token of a login that must succeed."""
    with server.client() as http:
        answer = http.post("/token", data={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        assert http.get("/users", headers=bearer(token)).status_code == 200
        return token


class TestFreshDirectory:
    def test_serve_makes_all_it_needs_and_shows_a_password_once(self, tmp_path: Path) -> None:
        with serving("", SECRET_KEY="", cwd=tmp_path) as server:
            [password] = MADE.findall(server.text)
            assert f"{server.base_url}/docs\n" in server.text
            token = log_in(server, password)
        key = tmp_path / "userapi.db.secret_key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert len(key.read_text().strip()) >= 32
        assert password not in "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
        with serving("", SECRET_KEY="", cwd=tmp_path) as server:
            assert "password" not in server.text
            log_in(server, password)
            with server.client() as http:
                assert http.get("/users/me", headers=bearer(token)).status_code == 200

    def test_settings_come_from_a_file_too(self, tmp_path: Path) -> None:
        lines = ["DATABASE_URL=sqlite:///./mine.db", "FIRST_ADMIN_USERNAME=root", "FIRST_ADMIN_PASSWORD=Zk4mWq7x"]
        (tmp_path / ".env").write_text("\n".join(lines))
        with serving("", cwd=tmp_path) as server:
            log_in(server, "Zk4mWq7x", "root")
        assert (tmp_path / "mine.db").exists()

    def test_uvicorn_serves_as_well(self, tmp_path: Path) -> None:
        with serving("", SECRET_KEY="", cwd=tmp_path, command=UVICORN) as server:
            [password] = MADE.findall(server.text)
            log_in(server, password)

    def test_workers_share_the_key(self, tmp_path: Path) -> None:
        with serving("", "--workers", "2", SECRET_KEY="", cwd=tmp_path) as server:
            [password] = MADE.findall(server.text)
            token = log_in(server, password)
            for _ in range(30):  # each on a new connection, which either worker may get
                with server.client() as http:
                    assert http.get("/users/me", headers=bearer(token)).status_code == 200

    def test_six_at_once_make_one_admin(self, tmp_path: Path) -> None:
        """R10."""
        with ExitStack() as stack:
            servers = [stack.enter_context(launched("", SECRET_KEY="", cwd=tmp_path)) for _ in range(6)]
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda server: server.wait(90), servers))
            passwords = [password for server in servers for password in MADE.findall(server.text)]
            assert len(passwords) == 1
            tokens = [log_in(server, passwords[0]) for server in servers]
            for server, token in zip(servers, reversed(tokens), strict=True):
                with server.client() as http:
                    assert len(http.get("/users", headers=bearer(token)).json()) == 1


class TestFirstAdmin:
    def test_is_made_as_the_settings_say(self, url: str) -> None:
        admin = {"FIRST_ADMIN_USERNAME": "Root", "FIRST_ADMIN_EMAIL": "root@example.org"}
        with serving(url, FIRST_ADMIN_PASSWORD="Zk4mWq7x", **admin) as server:
            assert "Zk4mWq7x" not in server.text
            assert "FIRST_ADMIN_PASSWORD" in server.text
            log_in(server, "Zk4mWq7x", "root@example.org")
        with serving(url, FIRST_ADMIN_PASSWORD="Other-Saddle-8", **admin) as server:
            log_in(server, "Zk4mWq7x", "Root")

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
        done = run("userapi", "serve", "--port", "0", url="", cwd=tmp_path, **{name: value})
        message = refused_to_start(done)
        assert name in message
        assert "Value error" not in message
        if name == "FIRST_ADMIN_PASSWORD":
            assert value not in message


class TestSecretKey:
    """S10."""

    @pytest.mark.parametrize(
        ("command", "key", "words"),
        [
            (SERVE, "", "is required with a server database"),
            (SERVE, "Short-1", "is shorter than 32 bytes"),
            (SERVE, "change-me-change-me-change-me-change-me", "is a placeholder"),
            (SERVE, "your-super-secret-jwt-key-at-least-32-bytes", "is a placeholder"),
            (SERVE, "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "is a placeholder"),
            (UVICORN, "", "is required with a server database"),
            (UVICORN, "Short-1", "is shorter than 32 bytes"),
        ],
    )
    def test_weak_or_missing_one_is_refused(self, command: tuple[str, ...], key: str, words: str) -> None:
        message = refused_to_start(run(*command, url=SERVER_URLS[0], SECRET_KEY=key))
        assert "SECRET_KEY" in message
        assert words in message
        assert not key or key not in message

    def test_missing_one_is_refused_for_mysql_and_with_workers_too(self) -> None:
        done = run("userapi", "serve", "--port", "0", "--workers", "2", url=SERVER_URLS[1], SECRET_KEY="")
        assert "SECRET_KEY is required" in refused_to_start(done)

    def test_weak_one_is_refused_on_sqlite_too(self, tmp_path: Path) -> None:
        done = run("userapi", "serve", "--port", "0", url="", cwd=tmp_path, SECRET_KEY="Short-1")
        assert "is shorter than 32 bytes" in refused_to_start(done)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", ["", "short", "\n"])
    def test_broken_key_file_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "userapi.db.secret_key").write_text(content)
        done = run("userapi", "serve", "--port", "0", url="", cwd=tmp_path, SECRET_KEY="")
        message = refused_to_start(done)
        assert "userapi.db.secret_key" in message
        assert "is shorter than 32 bytes" in message


class TestRefusals:
    @pytest.mark.parametrize(
        ("command", "name", "value"),
        [
            (SERVE, "DATABASE_URL", "nonsense"),
            (SERVE, "DATABASE_URL", "oracle://Hidden-1@localhost/x"),
            (SERVE, "DATABASE_URL", "postgresql://u:Hidden-1@localhost:port/x"),
            (SERVE, "BCRYPT_ROUNDS", "99"),
            (SERVE, "MIGRATE_ON_START", "perhaps"),
            (UVICORN, "ACCESS_TOKEN_EXPIRE_MINUTES", "soon"),
        ],
    )
    def test_wrong_setting_is_one_readable_line(self, command: tuple[str, ...], name: str, value: str) -> None:
        message = refused_to_start(run(*command, url="sqlite://", cwd=ROOT, stdin=None, **{name: value}))
        assert message.startswith(f"{name}: ")
        assert value not in message
        assert "Hidden-1" not in message

    def test_several_wrong_settings_are_a_line_each(self) -> None:
        done = run("userapi", "serve", "--port", "0", url="nonsense", BCRYPT_ROUNDS="99")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "DATABASE_URL: " in done.stderr
        assert "BCRYPT_ROUNDS: " in done.stderr

    @pytest.mark.parametrize(
        ("command", "url"),
        [
            (SERVE, SERVER_URLS[0]),
            (SERVE, SERVER_URLS[1]),
            (SERVE, "postgresql://nobody:Hidden-1@127.0.0.1:9/none?nonsense=1"),
            (SERVE, "mysql://nobody:Hidden-1@127.0.0.1:9/none?nonsense=1"),
            (SERVE, "sqlite:////nowhere/at/all/users.db"),
            (SERVE, "sqlite:///./garbage.db"),
            (SERVE, "sqlite:///./folder.db"),
            (MIGRATE, SERVER_URLS[0]),
            (MIGRATE, SERVER_URLS[1]),
            (MIGRATE, "sqlite:////nowhere/at/all/users.db"),
            (MIGRATE, "sqlite:///./garbage.db"),
            (("userapi", "create-admin"), SERVER_URLS[0]),
        ],
    )
    def test_database_that_cannot_be_used_is_one_readable_line(
        self, tmp_path: Path, command: tuple[str, ...], url: str
    ) -> None:
        (tmp_path / "garbage.db").write_bytes(b"no database at all" * 1000)
        (tmp_path / "folder.db").mkdir()
        message = refused_to_start(run(*command, url=url, cwd=tmp_path))
        assert message.startswith("cannot use the database ")
        assert "Hidden-1" not in message

    def test_refusal_under_uvicorn_shows_no_traceback(self) -> None:
        done = run(*UVICORN, "--port", "0", url=SERVER_URLS[0])
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "cannot use the database" in done.stderr
        assert "Hidden-1" not in done.stderr

    def test_database_in_memory_refuses_workers(self) -> None:
        done = run("userapi", "serve", "--port", "0", "--workers", "2", url="sqlite://", SECRET_KEY=SECRET_KEY)
        assert "memory" in refused_to_start(done)
