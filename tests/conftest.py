"""One fixture for the database: every test that takes `api` runs on SQLite, PostgreSQL and MariaDB."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import private_servers
from tests.private_servers import PrivateServer
from tests.service import SERVERS, Api, Server, answers, migrate, new_database, serving, wait_until

KINDS = ["sqlite", *SERVERS]
REQUIRED = [kind for kind in os.environ.get("USERAPI_TEST_REQUIRE", "").split(",") if kind]


def pytest_configure(config: pytest.Config) -> None:
    missing = [kind for kind in SERVERS if not answers(kind)]
    if absent := [kind for kind in REQUIRED if kind in missing]:
        raise pytest.UsageError(f"USERAPI_TEST_REQUIRE names {', '.join(absent)}, which does not answer")
    config.stash[_MISSING] = missing


def pytest_report_header(config: pytest.Config) -> str:
    missing = config.stash[_MISSING]
    tested = ", ".join(kind for kind in KINDS if kind not in missing)
    return f"databases: {tested}" + (f"; no server answers for {', '.join(missing)}: skipped" if missing else "")


_MISSING: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database a test runs on."""
    kind: str = request.param
    if kind in request.config.stash[_MISSING]:
        pytest.skip(f"no {kind} server answers")
    return kind


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


@contextmanager
def shared_server(kind: str, *options: str, **settings: Any) -> Iterator[Server]:
    """A service for many tests: the wrong passwords of one must not lock out the next, so it has no throttle."""
    with new_database(kind) as url:
        migrate(url)
        settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false", **settings}
        with serving(url, *options, **settings) as server:
            yield server


@pytest.fixture(scope="session")
def server(kind: str) -> Iterator[Server]:
    """A service that the tests of one kind of database share."""
    with shared_server(kind) as server:
        yield server


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    """A client of the shared service; its database holds nothing but one admin."""
    api = Api(server)
    yield api
    api.close()


@pytest.fixture(scope="session")
def four_workers(kind: str) -> Iterator[Server]:
    """A service of four processes that the tests of one kind of database share."""
    with shared_server(kind, "--workers", "4") as server:
        wait_until(lambda: server.text.count("Application startup complete") == 4)
        yield server


@pytest.fixture
def crowded(four_workers: Server) -> Iterator[Api]:
    """As `api`, on four processes."""
    api = Api(four_workers)
    assert api.admin.token  # logged in before the race
    yield api
    api.close()


@pytest.fixture(scope="session", params=list(SERVERS))
def private_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A database server that a test may stop, kill or freeze; it runs again when the test ends."""
    try:
        server = private_servers.start(request.param)
    except private_servers.AbsentError as absent:
        if request.param in REQUIRED:
            pytest.fail(f"USERAPI_TEST_REQUIRE names {request.param}: {absent}")
        pytest.skip(str(absent))
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
    api = Api(private_service)
    assert api.admin.token  # logged in before any fault
    yield api
    api.close()


@pytest.fixture(scope="session")
def open_server(kind: str) -> Iterator[Server]:
    """A service where anybody may register, from a page of another origin."""
    with shared_server(kind, REGISTRATION_ENABLED="true", CORS_ORIGINS="https://app.example.com") as server:
        yield server


@pytest.fixture
def open_api(open_server: Server) -> Iterator[Api]:
    """As `api`, where anybody may register."""
    api = Api(open_server)
    yield api
    api.close()
