"""Servers in groups, as operators run them: a pooler in front, a standby behind, three nodes that are one database."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from tests.support.databases import sync_engine, url_at
from tests.support.private_databases import AbsentError, MariaDB, PostgreSQL, PrivateServer, binary
from tests.support.processes import ROOT, free_port, wait_until
from tests.support.schema import migrate
from tests.support.servers import Server

GALERA_PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
_CLUSTERS = (ROOT / "userapi" / "CLUSTERS.md").read_text()
# As the page on clusters tells operators to.
[BALANCER] = re.findall(r"(?ms)^```haproxy\n(.*?)^```", _CLUSTERS)
[POOLER] = re.findall(r"(?ms)^```ini\n(.*?)^```", _CLUSTERS)
[UNAVAILABLE] = re.findall(r"(?ms)^```http\n(.*?)^```", _CLUSTERS)


class PgBouncer(PrivateServer):
    """A pooler of transactions with eight connections to a server."""

    kind = "postgresql"

    def __init__(self, server: PrivateServer) -> None:
        super().__init__()
        self._server = server

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None  # it refuses to run as root

    def _make(self) -> None:
        (self.folder / "users").write_text('"postgres" ""\n')
        text = POOLER.format(server_port=self._server.port, port=self.port, folder=self.folder)
        (self.folder / "ini").write_text(text)
        if user := self._user():
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, user, user)

    def _command(self) -> list[str]:
        return [binary("pgbouncer"), str(self.folder / "ini")]


class Primary(PostgreSQL):
    """A primary that acknowledges what its standby has, too, while it has one."""

    options = ("wal_level=replica", "max_wal_senders=4", "hot_standby=on")

    def sql(self, statement: str, database: str = "postgres") -> list[sa.Row[tuple[object, ...]]]:
        """Rows of a statement, in autocommit, as the user who may do anything."""
        engine = sync_engine(
            url_at(self.url, f"postgresql:///{database}"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            result = connection.execute(sa.text(statement))
            return list(result.all()) if result.returns_rows else []


class Standby(Primary):
    """A copy of a primary that follows it."""

    def __init__(self, primary: Primary) -> None:
        super().__init__()
        self._primary = primary

    def _make(self) -> None:
        if user := self._user():
            shutil.chown(self.folder, user, user)
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres application_name=standby"
        self._run([binary("pg_basebackup"), "-D", str(self.data), "-R", "-c", "fast", "-d", source])

    def promote(self) -> None:
        """Make it a primary, and wait until it is."""
        self.sql("SELECT pg_promote()")
        wait_until(lambda: not self.sql("SELECT pg_is_in_recovery()")[0][0])


class GaleraNode(MariaDB):
    """A node of a cluster whose nodes all take writes."""

    def __init__(self) -> None:
        super().__init__()
        self.group_port, self.transfer_port, self.copy_port = free_port(), free_port(), free_port()
        self.members: list[GaleraNode] = [self]
        self.first = True

    def _user(self) -> str | None:
        return "mysql" if os.geteuid() == 0 else None  # as root, rsync sends nobody's files

    def _make(self) -> None:
        if user := self._user():
            shutil.chown(self.folder, user, user)
        if self.first:
            super()._make()
        else:
            self._run(["cp", "-r", str(self.members[0].data), str(self.data)])

    def _command(self) -> list[str]:
        others = ",".join(f"127.0.0.1:{node.group_port}" for node in self.members if not self.first)
        provider = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group_port}",
            "ist.recv_addr": f"127.0.0.1:{self.transfer_port}",
            "gcache.size": "32M",
        }
        options = {
            "wsrep-on": "ON",
            "wsrep-provider": str(GALERA_PROVIDER),
            "wsrep-cluster-name": "userapi",
            "wsrep-cluster-address": f"gcomm://{others}",
            "wsrep-node-name": f"node{self.port}",
            "wsrep-node-address": f"127.0.0.1:{self.group_port}",
            "wsrep-provider-options": ";".join(f"{name}={value}" for name, value in provider.items()),
            "wsrep-sst-method": "rsync",
            "wsrep-sst-receive-address": f"127.0.0.1:{self.copy_port}",
            "wsrep-slave-threads": "2",
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": "2",
            "innodb-flush-log-at-trx-commit": "2",
        }
        return [*super()._command(), *(f"--{name}={value}" for name, value in options.items())]


def make(server: PrivateServer) -> PrivateServer:
    """Make a server's data and start it; raises AbsentError."""
    try:
        server._make()
        server.start()
    except BaseException:
        server.close()
        raise
    return server


@contextmanager
def running(server: PrivateServer) -> Iterator[None]:
    """A server runs inside; raises AbsentError."""
    make(server)
    try:
        yield
    finally:
        server.close()


@contextmanager
def replicated() -> Iterator[tuple[Primary, Standby]]:
    """A primary that waits for its standby at each commit, with the schema in a database `users`."""
    with ExitStack() as stack:
        primary = Primary()
        stack.callback(primary.close)
        make(primary)
        primary.sql("CREATE DATABASE users")
        migrate(url_at(primary.url, "postgresql:///users"))
        standby = Standby(primary)
        stack.callback(standby.close)
        make(standby)
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.sql("SELECT pg_reload_conf()")
        wait_until(lambda: primary.sql("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
        yield primary, standby


def url_of(primary: Primary, standby: Standby) -> str:
    """The URL of the database `users`, wherever the primary is."""
    return f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/users?sslmode=disable"


class HAProxy:
    """A balancer of two services, which asks them whether they are ready."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="userapi_"))
        (self._folder / "unavailable.http").write_text(UNAVAILABLE)
        backends = [
            f"server host{number} {urlsplit(server.base_url).netloc} check" for number, server in enumerate(servers)
        ]
        text = BALANCER.format(port=self.port, folder=self._folder, servers="\n    ".join(backends))
        (self._folder / "cfg").write_text(text)
        self._process = subprocess.Popen(
            [binary("haproxy"), "-db", "-f", str(self._folder / "cfg")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def galera() -> Iterator[list[GaleraNode]]:
    """Three nodes of one cluster. All begin with a copy of the first one's data, so none has to be sent over."""
    if not GALERA_PROVIDER.exists():
        raise AbsentError("there is no galera-4")
    nodes = [GaleraNode() for _ in range(3)]
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.close)
        make(nodes[0])
        nodes[0].end()
        for node in nodes[1:]:
            node.first, node.members = False, nodes
            node._make()
        for node in nodes:
            node.start()
        wait_until(lambda: all(_size(node) == ("3", "Synced") for node in nodes), 60)
        yield nodes


def _size(node: GaleraNode) -> tuple[object, object]:
    engine = sync_engine(node.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        shown = {row[0]: row[1] for row in connection.execute(sa.text("SHOW STATUS LIKE 'wsrep_%'"))}
    return shown["wsrep_cluster_size"], shown["wsrep_local_state_comment"]
