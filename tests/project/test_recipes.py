"""userapi/README.md tells how to add a field, a route and a capability: here its recipes are followed to the letter."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.checked import mypy, mypy_cache

__all__ = ["mypy_cache"]

ROOT = Path(__file__).parents[2]
RECIPES = ["How to add a field", "How to add a route", "How to add a capability"]

# An admin makes a user with a nickname, counts the users, deletes that user, and reads about it.
TRY = """
import asyncio, json, httpx2
from userapi.main import app

async def main():
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
        form = {"username": "admin", "password": "Not-Used-12"}
        token = (await http.post("/token", data=form)).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        new = {"username": "alice", "email": "alice@example.com", "password": "Correct-Horse-7", "nickname": "Al"}
        steps = [
            ("POST", "/users", new | {"nickname": "A" * 31}),
            ("POST", "/users", new),
            ("PUT", "/users/2", {"nickname": None}),
            ("PATCH", "/users/2", {"nickname": None}),
            ("GET", "/users/count", None),
            ("DELETE", "/users/2", None),
            ("GET", "/departures", None),
        ]
        answers = [await http.request(method, path, json=body) for method, path, body in steps]
        print(json.dumps([[answer.status_code, answer.json()] for answer in answers]))

asyncio.run(main())
"""


def code_of(recipe: str) -> list[tuple[str, str]]:
    """Return the pieces of code of a recipe, each with the file that its first line names."""
    text = (ROOT / "userapi" / "README.md").read_text()
    [section] = re.findall(rf"^## {recipe}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^ *```python\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    pieces = [textwrap.dedent(block) for block in blocks]
    return [(piece.partition("\n")[0].removeprefix("# "), piece.partition("\n")[2]) for piece in pieces]


def put_in(path: Path, code: str) -> None:
    """Write a piece of code where a reader would: into a new file, or at its place in one that is there."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        return
    source = path.read_text()
    imports = re.findall(r"^from .*\n", code, re.MULTILINE)
    source = re.sub(r"(?m)^(?=from |import )", "".join(imports), source, count=1)
    rest = re.sub(r"^from .*\n", "", code, flags=re.MULTILINE)
    for line, place in re.findall(r"^(.*)  # in (\w+)$", rest, re.MULTILINE):
        if place == "CAPABILITIES":
            source, done = re.subn(rf"(?m)^({place}\b.*\[\n)", rf"\1    {line},\n", source)
        else:
            source, done = re.subn(rf'(class {place}\(.*\):\n    """[^"]*"""\n\n)', rf"\1    {line}\n", source)
        assert done == 1, f"{path} has no {place}"
    rest = re.sub(r"^.*  # in \w+\n", "", rest, flags=re.MULTILINE)
    if path.name == "routes.py":
        source = source.replace('@router.get("/{user_id}"', f'{rest}\n\n@router.get("/{{user_id}}"', 1)
    elif rest.strip():
        source += f"\n\n{rest}"
    path.write_text(source)


class Copy:
    """A copy of the project in which the recipes were followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("userapi", "alembic"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("alembic.ini", ".ruff.toml", ".mypy.ini"):
            shutil.copy(ROOT / name, folder)
        for recipe in RECIPES:
            for name, code in code_of(recipe):
                put_in(folder / name, code)
        self.run("ruff", "check", "--fix-only", ".")  # sorts the imports
        self.run("ruff", "format", ".")

    def run(self, *command: str) -> str:
        """Run `python -m ...` in the copy, and return what it printed."""
        settings = {
            "DATABASE_URL": f"sqlite:///{self.folder}/recipes.db",
            "FIRST_ADMIN_PASSWORD": "Not-Used-12",
            "BCRYPT_ROUNDS": "4",
            "PYTHONPATH": str(self.folder),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR") if name in os.environ}
        start = [sys.executable] if command[0] == "-c" else [sys.executable, "-m"]
        done = subprocess.run(
            [*start, *command], cwd=self.folder, env=kept | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The project after all three recipes, up to the migration, which serves them all."""
    copy = Copy(tmp_path_factory.mktemp("recipes") / "project")
    copy.run("alembic", "upgrade", "head")
    copy.run("alembic", "revision", "--autogenerate", "-m", "Nicknames and departures")
    copy.run("alembic", "upgrade", "head")
    return copy


class TestRecipes:
    def test_every_recipe_has_code(self) -> None:
        assert [len(code_of(recipe)) for recipe in RECIPES] == [2, 2, 5]

    def test_migration_is_complete_and_goes_back(self, followed: Copy) -> None:
        assert "No new upgrade operations" in followed.run("alembic", "check")
        followed.run("alembic", "downgrade", "-1")
        followed.run("alembic", "upgrade", "head")

    def test_result_has_the_style_of_the_rest(self, followed: Copy, mypy_cache: Path) -> None:
        followed.run("ruff", "check", ".")
        followed.run("ruff", "format", "--check", ".")
        assert mypy(followed.folder, mypy_cache, "userapi") == ""

    def test_result_does_what_it_is_for(self, followed: Copy) -> None:
        answers: list[tuple[int, Any]] = json.loads(followed.run("-c", TRY).splitlines()[-1])
        assert [status for status, _ in answers] == [422, 201, 200, 200, 200, 200, 200]
        _, made, kept, cleared, count, _, departures = [body for _, body in answers]
        assert (made["nickname"], kept["nickname"], cleared["nickname"]) == ("Al", "Al", None)
        assert count == {"count": 2}
        assert [departure["user_id"] for departure in departures] == [2]
