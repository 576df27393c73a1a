"""Clients that others' generators make of the OpenAPI document: made, compiled, and three of them used."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE, skip_without
from tests.support.installed import installed, programs
from tests.support.people import ADMIN_PASSWORD
from tests.support.processes import run as run_module

HERE = Path(__file__).parent
NAME = "clients"  # in USERAPI_TEST_REQUIRE
SECONDS = 600

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder `node_modules` with the tools that npm installs."""
    if not shutil.which("npm"):
        skip_without(NAME, "there is no npm")
    if int(run("node", "--version", cwd=HERE)[1:].partition(".")[0]) < 20:
        skip_without(NAME, "node is older than 20")
    with installed("npm", HERE / "package-lock.json") as (folder, there):
        if not there:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def python_tools() -> Path:
    """The folder with the programs that pip installs, beside a Python of their own."""
    return programs(HERE / "requirements.txt")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document, as the command writes it, where clients are generated."""
    folder = tmp_path_factory.mktemp("clients")
    written = run_module("userapi", "openapi", url="sqlite://", REGISTRATION_ENABLED="true")
    assert written.returncode == 0, written.stderr
    (folder / "openapi.json").write_text(written.stdout)
    return folder


@pytest.fixture(scope="session")
def generator(python_tools: Path) -> Path:
    """OpenAPI Generator, which is written in Java."""
    if not shutil.which("java"):
        skip_without(NAME, "there is no java")
    return python_tools / "openapi-generator-cli"


@pytest.fixture(scope="session")
def compiled(tools: Path, place: Path, generator: Path) -> Path:
    """A folder with the three clients in TypeScript, compiled together under --strict."""
    for source in HERE.glob("*.ts"):
        shutil.copy(source, place)
    for name in ("package.json", "tsconfig.json", "openapi-ts.config.mjs"):
        shutil.copy(HERE / name, place)
    (place / "node_modules").symlink_to(tools)
    run(tools / ".bin/openapi-typescript", "openapi.json", "-o", "schema.d.ts", cwd=place)
    run(tools / ".bin/openapi-ts", cwd=place)
    generate = ["generate", "-i", "openapi.json", "-g", "typescript-fetch", "-o", "fetch_client"]
    run(generator, *generate, "--additional-properties=importFileExtension=.js", cwd=place)
    run(tools / ".bin/tsc", cwd=place)
    return place / "built"


@pytest.fixture
def used(api: Api) -> dict[str, str]:
    """What a client needs to know of a service with an admin and four others."""
    for number in range(4):
        api.new_user(f"user{number}")
    return {"BASE_URL": api.server.base_url, "PASSWORD": ADMIN_PASSWORD}


class TestLint:
    """No error, no warning, by the rules that each tool recommends."""

    def test_redocly(self, tools: Path, place: Path) -> None:
        printed = run(tools / ".bin/redocly", "lint", "--extends", "recommended", "openapi.json", cwd=place)
        assert "Your API description is valid" in printed
        assert "warning" not in printed.replace("Deprecation warning", "")

    def test_spectral(self, tools: Path, place: Path) -> None:
        ruleset = HERE / ".spectral.yaml"
        run(tools / ".bin/spectral", "lint", "openapi.json", "-r", ruleset, "--fail-severity", "hint", cwd=place)


@ON_SQLITE
class TestUsed:
    """From login to logout, with typed errors and pages by `Link`."""

    @pytest.mark.parametrize("client", ["openapi_fetch", "hey_api"])
    def test_typescript(self, compiled: Path, used: dict[str, str], client: str) -> None:
        run("node", compiled / f"{client}.js", cwd=compiled, **used)

    def test_python(self, python_tools: Path, place: Path, used: dict[str, str]) -> None:
        generate = ["generate", "--path", "openapi.json", "--output-path", "python", "--fail-on-warning"]
        path = f"{python_tools}:{os.environ['PATH']}"
        run(python_tools / "openapi-python-client", *generate, cwd=place, PATH=path)
        run(python_tools / "python", "-m", "compileall", "-q", "python", cwd=place)
        run(python_tools / "python", HERE / "python_client.py", cwd=place, PYTHONPATH=str(place / "python"), **used)


class TestDart:
    def test_has_the_types_of_the_document(self, generator: Path, place: Path) -> None:
        run(generator, "generate", "-i", "openapi.json", "-g", "dart", "-o", "dart", cwd=place)
        models = place / "dart/lib/model"
        created = (models / "user_create.dart").read_text()
        assert "String? password;" in created  # none with an invitation
        assert "required this.username," in created
        assert "int version;" in (models / "user_listed.dart").read_text()
        assert "List<Violation> detail;" in (models / "validation_error.dart").read_text()
        assert "String detail;" in (models / "username_taken_error.dart").read_text()
        users = (place / "dart/lib/api/users_api.dart").read_text()
        assert "readUser(String userId" in users
        assert "Object" not in "".join(line for line in users.splitlines() if "Future<" in line)
