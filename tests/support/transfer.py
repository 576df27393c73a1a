"""Users that go out and come in again."""

from pathlib import Path

from tests.support.commands import command
from tests.support.databases import new_database
from tests.support.schema import migrate


def assert_comes_in_again(url: str, kind: str, file: Path) -> None:
    """Export a database to a file; check that, imported into an empty database, that gives the same export."""
    second = file.with_name(f"second_{file.name}")
    assert command("export", str(file), "--with-hashes", url=url).returncode == 0
    with new_database(kind) as empty:
        migrate(empty)
        done = command("import", str(file), url=empty)
        assert (done.returncode, done.stderr) == (0, "")
        assert command("export", str(second), "--with-hashes", url=empty).returncode == 0
    assert second.read_bytes() == file.read_bytes()
