"""The files that the service makes on SQLite: nobody but their owner can open them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import refused_to_start
from tests.support.servers import serving

UVICORN = ("uvicorn", "userapi.main:app")
KEY = "0f" * 32


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    """A process that gives everybody all rights to what it makes, unless it says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: f"{stat.S_IMODE(path.stat().st_mode):o}" for path in folder.iterdir()}


class TestModes:
    """S34."""

    @pytest.mark.parametrize("serve", [("userapi", "serve"), UVICORN], ids=["serve", "uvicorn"])
    def test_of_what_a_start_makes(self, tmp_path: Path, serve: tuple[str, ...]) -> None:
        """S34."""
        names = [f"userapi.db{end}" for end in ("", "-wal", "-shm", ".secret_key")]
        with serving("", command=serve, cwd=tmp_path, SECRET_KEY="", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD):
            assert modes(tmp_path) == dict.fromkeys(names, "600")

    @pytest.mark.parametrize("url", ["sqlite:///./other.db", "sqlite:///file:other.db?uri=true"])
    def test_of_what_a_migration_makes(self, tmp_path: Path, url: str) -> None:
        """S34."""
        assert command("migrate", url=url, cwd=tmp_path).returncode == 0
        assert modes(tmp_path) == {"other.db": "600"}

    def test_an_operator_may_open_the_database_to_a_group(self, tmp_path: Path) -> None:
        command("migrate", url="", cwd=tmp_path)
        (tmp_path / "userapi.db").chmod(0o640)
        assert command("create-admin", url="", cwd=tmp_path, stdin="").returncode == 1
        assert modes(tmp_path) == {"userapi.db": "640"}

    def test_a_file_that_must_exist_is_not_made(self, tmp_path: Path) -> None:
        url = "sqlite:///file:other.db?uri=true&mode=rw"
        assert "cannot use the database" in refused_to_start(command("migrate", url=url, cwd=tmp_path))
        assert modes(tmp_path) == {}


class TestKeyFile:
    """S34: one sentence says what is wrong."""

    def refusal(self, folder: Path) -> str:
        settings = {"SECRET_KEY": "", "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
        return refused_to_start(command("serve", url="sqlite:///./my users.db", cwd=folder, **settings))

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o777])
    def test_that_others_can_open_is_refused_with_the_command_that_helps(self, tmp_path: Path, mode: int) -> None:
        """S34."""
        key = tmp_path / "my users.db.secret_key"
        key.write_text(KEY)
        key.chmod(mode)
        message = self.refusal(tmp_path)
        assert message.endswith("chmod 600 'my users.db.secret_key'")
        assert KEY not in message
        key.chmod(0o600)
        done = command("serve", url="sqlite:///./my users.db", cwd=tmp_path, SECRET_KEY="")
        assert "it serves" in done.stderr

    def test_owner_may_keep_it_read_only_or_behind_a_link(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        kept.write_text(KEY)
        kept.chmod(0o400)
        (tmp_path / "userapi.db.secret_key").symlink_to(kept)
        settings = {"SECRET_KEY": "", "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
        assert "it serves" in command("serve", url="", cwd=tmp_path, **settings).stderr

    def test_link_to_nothing_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "my users.db.secret_key").symlink_to(tmp_path / "gone")
        assert "is a link to" in self.refusal(tmp_path)
        assert not (tmp_path / "gone").exists()

    def test_folder_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "my users.db.secret_key").mkdir()
        assert "is no file" in self.refusal(tmp_path)

    def test_what_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "my users.db.secret_key").write_bytes(b"\xff" * 64)
        assert "cannot be made or read" in self.refusal(tmp_path)
