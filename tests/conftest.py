"""The databases that tests run on, the services that they share, and how pytest-xdist shares the tests out."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]  # it has no types

from tests.support import private_databases
from tests.support.client import Actor, Api, client_of
from tests.support.databases import KINDS, REQUIRED, SERVERS, answers, new_database, skip_without
from tests.support.forks import fork_server
from tests.support.logins import Pair
from tests.support.private_databases import PrivateServer
from tests.support.processes import ROOT, environment, wait_until
from tests.support.schema import migrate
from tests.support.servers import Server, Shared, serving, shared_server

WORKERS_A_CORE = 2  # tests wait for processes and servers; those of `api` on SQLite do so less
# Folders whose tests share what is dear to start: they stay together.
_TOGETHER = ("api/log", "api/races", "browser", "clients", "faults/private", "oauth")
TOGETHER = tuple(f"tests/{folder}/" for folder in _TOGETHER)

_MISSING: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--databases",
        metavar="KIND[,KIND]",
        default=",".join(KINDS),
        help="run tests on these databases only: sqlite, postgresql, mysql (default: all that answer)",
    )
    parser.addoption(
        "--rounds", type=int, default=12, metavar="N", help="how often tests of clusters repeat a race (default: 12)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: a module that measures time, so no other test runs meanwhile")
    config.addinivalue_line("markers", "slow: it takes many seconds, so it is begun first")
    wanted = _wanted(config)
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise pytest.UsageError(f"--databases names {', '.join(unknown)}; there are {', '.join(KINDS)}")
    missing = [kind for kind in SERVERS if (kind in wanted or kind in REQUIRED) and not answers(kind)]
    if absent := [kind for kind in REQUIRED if kind in missing]:
        raise pytest.UsageError(f"USERAPI_TEST_REQUIRE names {', '.join(absent)}, which does not answer")
    config.stash[_MISSING] = missing
    if not hasattr(config, "workerinput") and not config.option.collectonly and hasattr(os, "pidfd_open"):
        forks = ExitStack()
        forks.enter_context(fork_server(environment(""), ROOT))
        config.add_cleanup(forks.close)


def pytest_report_header(config: pytest.Config) -> str:
    missing = config.stash[_MISSING]
    tested = ", ".join(kind for kind in _wanted(config) if kind not in missing)
    return f"databases: {tested}" + (f"; no server answers for {', '.join(missing)}: skipped" if missing else "")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keep the ids of tests short, and the same in all processes."""
    if isinstance(val, set):
        val = sorted(val)
    if not isinstance(val, str | bytes | list | tuple | dict):
        return None
    text = val if isinstance(val, str) and val.isascii() and val.isprintable() else ascii(val)
    return text if len(text) <= 32 else f"{text[:30]}.."


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests on all databases that are wanted, unless they name some."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "kind" in metafunc.fixturenames and not any(names == "kind" or "kind" in names[0:1] for names in named):
        metafunc.parametrize("kind", _wanted(metafunc.config), indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the databases that are not wanted; begin with what takes long, end with what must be alone."""
    wanted = {None, *_wanted(config)}
    if unwanted := [item for item in items if _kind_of(item) not in wanted]:
        config.hook.pytest_deselected(items=unwanted)
    kept = [item for item in items if _kind_of(item) in wanted]
    items[:] = sorted(kept, key=lambda item: _is(item, "alone") - _is(item, "slow"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that must be alone wait for those of other processes, and those for it."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _is(item, "alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    cores = os.cpu_count() or 1
    busy = _wanted(config) == ["sqlite"] and all("tests/api" in path for path in config.args)
    return cores + 1 if busy else WORKERS_A_CORE * cores


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # in the order of the collection
    return ByService(config, log)


class ByService(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives tests of one file on one kind of database to one worker: they share a service."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])
        kinds = re.findall(rf"(?<![a-z]){'|'.join(KINDS)}(?![a-z])", nodeid.partition("[")[2])
        return f"{folder} {' '.join(kinds)}"


def _wanted(config: pytest.Config) -> list[str]:
    return [kind for kind in config.getoption("--databases").split(",") if kind]


def _kind_of(item: pytest.Item) -> str | None:
    """The kind of database that a test is for, if it is for one."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return next((kind for name in ("kind", "private_server") if (kind := parameters.get(name)) in KINDS), None)


def _is(item: pytest.Item, name: str) -> bool:
    return item.get_closest_marker(name) is not None


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on."""
    kind: str = request.param
    if kind in request.config.stash[_MISSING]:
        pytest.skip(f"no {kind} server answers")
    return kind


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a race is repeated that ends badly now and then."""
    found: int = request.config.getoption("--rounds")
    return found


@pytest.fixture
def empty_url(kind: str) -> Iterator[str]:
    """The URL of an empty database."""
    with new_database(kind) as url:
        yield url


@pytest.fixture
def url(empty_url: str) -> str:
    """The URL of a database of one's own, with the schema that the migrations make."""
    migrate(empty_url)
    return empty_url


@pytest.fixture(scope="session")
def shared() -> Iterator[Shared]:
    """The services that tests share."""
    with Shared() as shared:
        yield shared


@pytest.fixture
def api(shared: Shared, kind: str) -> Iterator[Api]:
    """A client of a service that tests share; its database holds nothing but one admin."""
    with client_of(shared.service(kind)) as api:
        yield api


@pytest.fixture
def open_api(shared: Shared, kind: str) -> Iterator[Api]:
    """As `api`, where anybody may register."""
    with client_of(shared.service(kind, REGISTRATION_ENABLED="true")) as api:
        yield api


@pytest.fixture(scope="session")
def four_workers(kind: str) -> Iterator[Server]:
    """A service of four processes."""
    with shared_server(kind, "--workers", "4") as server:
        wait_until(lambda: server.text.count("Application startup complete") == 4)
        yield server


@pytest.fixture
def crowded(four_workers: Server) -> Iterator[Api]:
    """As `api`, on four processes."""
    with client_of(four_workers) as api:
        assert api.admin.token  # logged in before the race
        yield api


@pytest.fixture
def alice(api: Api) -> Actor:
    """A user, logged in."""
    return api.new_actor("alice", age=30)


@pytest.fixture
def pair(api: Api) -> Pair:
    """The tokens of a user who has just logged in."""
    api.new_user("alice")
    return api.grant("alice")


@pytest.fixture(scope="session", params=list(SERVERS))
def private_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A database server that a test may stop, kill or freeze; it runs again when the test ends."""
    try:
        server = private_databases.start(request.param)
    except private_databases.AbsentError as absent:
        skip_without(request.param, str(absent))
    yield server
    server.close()


@pytest.fixture
def private_url(private_server: PrivateServer) -> Iterator[str]:
    """The URL of a database of one's own on a private server, with the schema."""
    with new_database(private_server.kind, private_server.url) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def private_service(private_server: PrivateServer) -> Iterator[Server]:
    """A service whose database is on a private server."""
    with new_database(private_server.kind, private_server.url) as url:
        migrate(url)
        with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            yield server


@pytest.fixture
def private_api(private_service: Server) -> Iterator[Api]:
    """As `api`, on a private server."""
    with client_of(private_service) as api:
        assert api.admin.token  # logged in before any fault
        yield api
