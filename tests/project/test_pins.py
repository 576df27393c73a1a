"""What is installed is pinned: by requirements.txt directly, by .constraints.txt down to the hash of each file."""

import ast
import re
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = (ROOT / ".constraints.txt").read_text()
PINNED_BY_ANOTHER = {"pydantic-core"}  # pydantic itself requires one version of it
OPTIONAL = {"opentelemetry"}  # who sets OTEL_EXPORTER_OTLP_ENDPOINT installs it; tests/requirements.txt pins it
LOCAL = {"userapi", "tests", "alembic"}  # `alembic` is a folder of this project and a library, too


def requirements(name: str) -> list[Requirement]:
    """Return the requirements that a file states itself."""
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def constrained() -> dict[str, dict[str, int]]:
    """Return the number of hashes of each version of each package in .constraints.txt."""
    entries: dict[str, dict[str, int]] = {}
    for entry in re.split(r"(?m)^(?=[a-z0-9])", CONSTRAINTS)[1:]:
        pin = Requirement(entry.partition("\\")[0].strip())
        [version] = pin.specifier
        entries.setdefault(canonicalize_name(pin.name), {})[version.version] = entry.count("--hash=sha256:")
    return entries


RUNTIME, TOOLS = requirements("requirements.txt"), requirements("tests/requirements.txt")


class TestPins:
    @pytest.mark.parametrize("pin", RUNTIME + TOOLS, ids=lambda pin: pin.name)
    def test_a_pin_names_one_version_which_the_constraints_repeat(self, pin: Requirement) -> None:
        [version] = pin.specifier
        assert version.operator == "=="
        assert list(constrained()[canonicalize_name(pin.name)]) == [version.version]

    def test_constraints_hash_every_package(self) -> None:
        counts = [count for versions in constrained().values() for count in versions.values()]
        assert len(counts) > len(RUNTIME + TOOLS)
        assert min(counts) > 0

    def test_constraints_name_no_host(self) -> None:
        assert "://" not in CONSTRAINTS

    def test_constraints_hold_everything_that_the_pins_bring_along(self) -> None:
        seen: set[tuple[str, str]] = set()
        todo = [(pin.name, extra) for pin in RUNTIME + TOOLS for extra in ("", *pin.extras)]
        while todo:
            name, extra = todo.pop()
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for needed in map(Requirement, distribution(name).requires or ()):
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    todo += [(needed.name, further) for further in ("", *needed.extras)]
        assert {canonicalize_name(name) for name, _ in seen} <= constrained().keys()

    def test_every_library_that_the_service_imports_is_pinned(self) -> None:
        imported: set[str] = set()
        for path in [*(ROOT / "userapi").rglob("*.py"), *(ROOT / "alembic").rglob("*.py")]:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
        foreign = imported - sys.stdlib_module_names - LOCAL - OPTIONAL
        pinned = {canonicalize_name(pin.name) for pin in RUNTIME} | PINNED_BY_ANOTHER
        providers = packages_distributions()
        unpinned = {
            name for name in foreign if not pinned & {canonicalize_name(found) for found in providers.get(name, [])}
        }
        assert not unpinned
