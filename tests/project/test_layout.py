"""The layout of the package: who may import whom, and how long a module and a function may be."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGE = ROOT / "userapi"
# Each imports only from those before it, and from itself; those of one line import nothing of each other.
LAYERS = [
    {"__init__"},
    {"errors"},
    {"kit"},
    {"settings"},
    {"models"},
    {"schema", "server"},
    {"security"},
    {"sessions"},
    {"proof"},
    {"codes", "listing"},
    {"users"},
    {"cookies"},
    {"login", "first_admin", "mailboxes", "moving"},
    {"mail"},  # the one capability that others may import
    set[str](),  # all other capabilities: every folder that is not named
    {"activity"},  # the one capability that reads what another, `events`, has written
    {"capabilities"},
    {"services"},
    {"main"},
    {"cli", "commands", "worker"},
    {"__main__"},
]
CAPABILITIES = LAYERS.index(set())
MODULE_LINES, FUNCTION_LINES = 250, 40
ROOM_LINES = 500  # of a capability
CORE = ("*.py", "kit/**/*.py", "models/*.py", "users/*.py", "login/*.py")
CORE_LINES = 3000  # of code


def room(module: str) -> str:
    """Return the folder or the module at the top of the package that a dotted name belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def layer(name: str) -> int:
    return next((number for number, names in enumerate(LAYERS) if name in names), CAPABILITIES)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of the package's modules that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "userapi")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            if node.module == "userapi":
                yield from (_of_package(alias.name) for alias in node.names)
            elif node.module and node.module.startswith("userapi."):
                yield node.module


def _of_package(name: str) -> str:
    there = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    return f"userapi.{name}" if there else "userapi"  # a name that `__init__` defines


def wrong_imports(importer: str, imported: list[str]) -> list[str]:
    """Return those of the imported modules that this one must know nothing of."""
    own = room(importer)
    return [module for module in imported if room(module) != own and layer(room(module)) >= layer(own)]


MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]
NAMED = set[str]().union(*LAYERS) - {"mail", "activity"}
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists() and path.name not in NAMED)


class TestImports:
    @pytest.mark.parametrize("path", MODULES, ids=NAMES)
    def test_lead_from_later_rooms_to_earlier_ones(self, path: Path) -> None:
        assert wrong_imports(name_of(path), list(imports(path))) == []

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("userapi.kit.web.edge", "userapi.models"),
            ("userapi.kit.database.units", "userapi.users.rules"),
            ("userapi.models.users", "userapi.security.tokens"),
            ("userapi.sessions.rules", "userapi.users.rules"),
            ("userapi.users.rules", "userapi.login.flow"),
            ("userapi.login.flow", "userapi.registration.routes"),
            ("userapi.recovery.rules", "userapi.registration.routes"),
            ("userapi.mail.rules", "userapi.recovery.rules"),
            ("userapi.mail.rules", "userapi.delivery.outbox"),
            ("userapi.recovery.rules", "userapi.events.models"),
            ("userapi.events.rules", "userapi.activity.listing"),
            ("userapi.users.routes", "userapi.services"),
            ("userapi.services", "userapi.main"),
            ("userapi.errors", "userapi.kit.logs"),
        ],
    )
    def test_of_what_comes_later_is_noticed(self, importer: str, imported: str) -> None:
        assert wrong_imports(importer, [imported]) == [imported]

    def test_of_mail_is_open_to_other_capabilities(self) -> None:
        assert wrong_imports("userapi.recovery.rules", ["userapi.mail.rules", "userapi.users.rules"]) == []

    def test_of_fastapi_are_not_in_rules(self) -> None:
        """Rules, models and errors can be called by commands, which know no requests."""
        plain = ["errors.py", "services.py", "users/changes.py", "listing/*.py", "models/*.py"]
        plain += ["*/models.py", "*/rules.py"]
        named = [path for pattern in plain for path in PACKAGE.glob(pattern)]
        web = [path.name for path in named if {"fastapi", "starlette"} & set(_outside(path))]
        assert web == []


def _outside(path: Path) -> Iterator[str]:
    """Yield the names of the packages that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _lines_of_code(path: Path) -> int:
    """Return how many lines of a module hold code: not those that are blank, of a docstring or of a comment alone."""
    text = path.read_text()
    found = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(found)


class TestSize:
    def test_of_the_core(self) -> None:
        """The folders that the first version had: what everything else stands on is read in an afternoon."""
        assert sum(_lines_of_code(path) for pattern in CORE for path in PACKAGE.glob(pattern)) <= CORE_LINES

    @pytest.mark.parametrize("name", ROOMS)
    def test_of_a_capability(self, name: str) -> None:
        modules = (PACKAGE / name).rglob("*.py")
        assert sum(len(path.read_text().splitlines()) for path in modules) <= ROOM_LINES

    @pytest.mark.parametrize("path", MODULES, ids=NAMES)
    def test_of_a_module(self, path: Path) -> None:
        assert len(path.read_text().splitlines()) <= MODULE_LINES

    @pytest.mark.parametrize("path", MODULES, ids=NAMES)
    def test_of_its_functions(self, path: Path) -> None:
        functions = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
        assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}
