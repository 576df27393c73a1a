"""The clusters that tests run on, each started when a test first asks for it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.client import Api
from tests.support.clusters import GaleraNode, galera
from tests.support.databases import new_database, skip_without, url_at
from tests.support.private_databases import AbsentError
from tests.support.schema import migrate
from tests.support.servers import Server, serving


@dataclass
class Hosts:
    """A service on each node of a cluster. `api` is a client of the first."""

    nodes: list[GaleraNode]
    servers: list[Server]
    api: Api


@pytest.fixture(scope="session")
def galera_nodes() -> Iterator[list[GaleraNode]]:
    """Three nodes of one Galera cluster."""
    with ExitStack() as stack:
        try:
            nodes = stack.enter_context(galera())
        except AbsentError as absent:
            skip_without("galera", str(absent))
        yield nodes


@pytest.fixture(scope="session")
def galera_servers(galera_nodes: list[GaleraNode]) -> Iterator[list[Server]]:
    """A service on each node."""
    with ExitStack() as stack:
        url = stack.enter_context(new_database("mysql", galera_nodes[0].url))
        migrate(url)
        settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "THROTTLE_ENABLED": "false"}
        yield [stack.enter_context(serving(url_at(node.url, url), **settings)) for node in galera_nodes]


@pytest.fixture
def hosts(galera_nodes: list[GaleraNode], galera_servers: list[Server]) -> Iterator[Hosts]:
    """The services on the nodes; their database holds nothing but one admin."""
    api = Api(galera_servers[0])
    assert api.admin.token
    yield Hosts(galera_nodes, galera_servers, api)
    api.close()
