"""The documents name what is there: their links lead somewhere, the map has every module, the threats name tests."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "userapi"
PAGES = [path for folder in ("userapi", "tests") for path in (ROOT / folder).rglob("*.md")]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *PAGES])
THREATS = re.findall(r"^\| ([SR]\d+) \|.*\| ([^|]+) \|$", (ROOT / "tests/README.md").read_text(), re.MULTILINE)
ASVS = re.findall(
    r"^\| (V[\d.]+(?: to V[\d.]+)?) \| ([12]) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$",
    (ROOT / "tests/README.md").read_text(),
    re.MULTILINE,
)


def mapped() -> dict[str, set[str]]:
    """Return the modules that the map of userapi/README.md has in each folder of the package; "" is the package."""
    found: dict[str, set[str]] = {}
    [table] = re.findall(r"(?ms)^## The map\n(.*?)^## ", (PACKAGE / "README.md").read_text())
    for where, what in re.findall(r"(?m)^\| (`[^|]+) \| ([^|]+) \|$", table):
        for place in re.findall(r"`([\w/.]+)`", where):
            folder, _, module = place.rpartition("/")
            modules = [module] if module else re.findall(r"`(\w+\.py)`", what)
            found.setdefault(folder, set()).update(modules)
    return found


def cited(docstring: str | None) -> set[str]:
    """Return the ids of threats and faults that a docstring names."""
    return set(re.findall(r"\b[SR]\d{1,2}\b", docstring or ""))


@cache
def citations() -> dict[str, set[str]]:
    """Return the ids that each test cites, itself or through its class or its module, by `path::Class::test`."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        module = ast.parse(path.read_text())
        file = path.relative_to(ROOT / "tests").as_posix()
        suites: list[ast.Module | ast.ClassDef] = [module]
        suites += [node for node in module.body if isinstance(node, ast.ClassDef)]
        for suite in suites:
            inherited = cited(ast.get_docstring(module)) | cited(ast.get_docstring(suite))
            prefix = f"{file}::{suite.name}" if isinstance(suite, ast.ClassDef) else file
            for test in suite.body:
                if isinstance(test, ast.FunctionDef):
                    found[f"{prefix}::{test.name}"] = inherited | cited(ast.get_docstring(test))
    return found


class TestDocuments:
    def test_readme_is_short(self) -> None:
        assert len((ROOT / "README.md").read_text().splitlines()) <= 150

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_links_lead_somewhere(self, name: str) -> None:
        document = ROOT / name
        links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
        assert not [link for link in links if not (document.parent / link).exists()]

    def test_map_has_every_module(self) -> None:
        there: dict[str, set[str]] = {}
        for path in PACKAGE.rglob("*.py"):
            folder = path.parent.relative_to(PACKAGE).as_posix()
            there.setdefault("" if folder == "." else folder, set()).add(path.name)
        modules = {folder: names - {"__init__.py"} for folder, names in there.items()}
        assert mapped() == {folder: names for folder, names in modules.items() if names} | {"kit": modules["kit"]}


class TestThreats:
    @pytest.mark.parametrize(("threat", "holders"), THREATS, ids=[threat for threat, _ in THREATS])
    def test_is_held_by_tests_that_cite_it(self, threat: str, holders: str) -> None:
        tests = citations()
        named = re.findall(r"`([^`]+)`", holders)
        assert named
        assert not [name for name in named if threat not in tests.get(name, set())]

    def test_every_cited_id_is_in_the_table(self) -> None:
        assert set().union(*citations().values()) <= {threat for threat, _ in THREATS}


class TestASVS:
    def test_table_is_there(self) -> None:
        assert {requirement.split(".")[0] for requirement, *_ in ASVS} == {"V2", "V6", "V7", "V9", "V10", "V13", "V14"}
        assert len({requirement for requirement, *_ in ASVS}) == len(ASVS)

    @pytest.mark.parametrize(("held", "shown"), [row[2:] for row in ASVS], ids=[row[0] for row in ASVS])
    def test_names_what_is_there(self, held: str, shown: str) -> None:
        assert held.startswith(("held", "not held", "not applicable"))
        tests = re.findall(r"`([^`]+)`", shown)
        files = {name.partition("::")[0] for name in citations()}
        assert not [name for name in tests if name not in citations() and name not in files]
        ids = set(re.findall(r"\b[SR]\d+\b", shown))
        assert ids <= {threat for threat, _ in THREATS}
        assert tests or ids or shown == "-"
