"""Starts that are refused, each with one sentence."""

from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.processes import SECRET_KEY, refused_to_start, run

UVICORN = ("uvicorn", "userapi.main:app")
# No test reaches it: the refusal comes first.
SERVER_URLS = ["postgresql://nobody:Hidden-1@127.0.0.1:9/none", "mysql+pymysql://nobody:Hidden-1@127.0.0.1:9/none"]


class TestSecretKey:
    """S10."""

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("", "is required with a server database"),
            ("Short-1", "is shorter than 32 bytes"),
            ("a" * 64, "is one character over and over"),
            ("change-me-change-me-change-me-change-me", "is a placeholder"),
            ("your-super-secret-jwt-key-at-least-32-bytes", "is a placeholder"),
            ("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "is a placeholder"),
        ],
    )
    def test_weak_or_missing_one_is_refused(self, key: str, words: str) -> None:
        message = refused_to_start(command("serve", url=SERVER_URLS[0], SECRET_KEY=key))
        assert "SECRET_KEY" in message
        assert words in message
        assert not key or key not in message

    @pytest.mark.parametrize(("key", "words"), [("", "is required"), ("Short-1", "is shorter than 32 bytes")])
    def test_under_uvicorn_it_is_refused_too(self, key: str, words: str) -> None:
        message = refused_to_start(run(*UVICORN, url=SERVER_URLS[0], SECRET_KEY=key))
        assert "SECRET_KEY" in message
        assert words in message

    def test_missing_one_is_refused_for_mysql_and_with_workers_too(self) -> None:
        done = run("userapi", "serve", "--port", "0", "--workers", "2", url=SERVER_URLS[1], SECRET_KEY="")
        assert "SECRET_KEY is required" in refused_to_start(done)

    def test_weak_one_is_refused_on_sqlite_too(self, tmp_path: Path) -> None:
        done = command("serve", url="", cwd=tmp_path, SECRET_KEY="Short-1")
        assert "is shorter than 32 bytes" in refused_to_start(done)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", ["", "short", "\n"])
    def test_broken_key_file_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "userapi.db.secret_key").write_text(content)
        done = command("serve", url="", cwd=tmp_path, SECRET_KEY="")
        message = refused_to_start(done)
        assert "userapi.db.secret_key" in message
        assert "is shorter than 32 bytes" in message


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", "nonsense"),
            ("DATABASE_URL", "oracle://Hidden-1@localhost/x"),
            ("DATABASE_URL", "postgresql://u:Hidden-1@localhost:port/x"),
            ("BCRYPT_ROUNDS", "99"),
            ("CORS_ORIGINS", "my.example"),
            ("CORS_ORIGINS", "https://app.example.org/path"),
            ("MIGRATE_ON_START", "perhaps"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon"),
        ],
    )
    def test_wrong_setting_is_one_readable_line(self, name: str, value: str) -> None:
        message = refused_to_start(command("serve", url="sqlite://", **{name: value}))
        assert message.startswith(f"{name}: ")
        assert value not in message
        assert "Hidden-1" not in message

    def test_under_uvicorn_it_is_one_readable_line_too(self) -> None:
        refused = refused_to_start(run(*UVICORN, url="sqlite://", BCRYPT_ROUNDS="99"))
        assert refused.startswith("BCRYPT_ROUNDS: ")

    def test_several_wrong_settings_are_a_line_each(self) -> None:
        done = command("serve", url="nonsense", BCRYPT_ROUNDS="99")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "DATABASE_URL: " in done.stderr
        assert "BCRYPT_ROUNDS: " in done.stderr

    @pytest.mark.parametrize(
        ("name", "url"),
        [
            ("serve", SERVER_URLS[0]),
            ("serve", SERVER_URLS[1]),
            ("serve", "postgresql://nobody:Hidden-1@127.0.0.1:9/none?nonsense=1"),
            ("serve", "mysql://nobody:Hidden-1@127.0.0.1:9/none?nonsense=1"),
            ("serve", "sqlite:////nowhere/at/all/users.db"),
            ("serve", "sqlite:///./garbage.db"),
            ("serve", "sqlite:///./folder.db"),
            ("migrate", SERVER_URLS[0]),
            ("migrate", SERVER_URLS[1]),
            ("migrate", "sqlite:////nowhere/at/all/users.db"),
            ("migrate", "sqlite:///./garbage.db"),
            ("create-admin", SERVER_URLS[0]),
        ],
    )
    def test_database_that_cannot_be_used_is_one_readable_line(self, tmp_path: Path, name: str, url: str) -> None:
        (tmp_path / "garbage.db").write_bytes(b"no database at all" * 1000)
        (tmp_path / "folder.db").mkdir()
        message = refused_to_start(command(name, url=url, cwd=tmp_path))
        assert message.startswith("cannot use the database ")
        assert "Hidden-1" not in message

    def test_refusal_under_uvicorn_shows_no_traceback(self) -> None:
        done = run(*UVICORN, "--port", "0", url=SERVER_URLS[0])
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "cannot use the database" in done.stderr
        assert "Hidden-1" not in done.stderr

    def test_database_in_memory_refuses_workers(self) -> None:
        done = command("serve", "--workers", "2", url="sqlite://", SECRET_KEY=SECRET_KEY)
        assert "memory" in refused_to_start(done)
