"""Redis servers of the tests' own."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import redis

from tests.support.databases import skip_without
from tests.support.processes import free_port, wait_until


@dataclass
class RedisServer:
    """A Redis server of the tests' own, that may be stopped and frozen."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()
    file: str = ""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary
        self._folder = tempfile.TemporaryDirectory(prefix="userapi_")  # where a cluster keeps what it knows of itself
        kept = [] if self.file else ["--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [binary, *filter(None, [self.file]), "--port", str(self.port), "--bind", "127.0.0.1", *kept, *self.options],
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        with suppress(redis.exceptions.ConnectionError), redis.Redis(port=self.port) as client:
            return bool(client.ping())
        return False

    def keys(self) -> list[bytes]:
        with redis.Redis(port=self.port) as client:
            found: list[bytes] = client.keys()
            return found

    def wait_replicated(self) -> None:
        """Wait until a replica has all that was written so far."""
        with redis.Redis(port=self.port) as client:
            client.set("replicated", 1)
            assert client.wait(1, 10_000) == 1

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            self._folder.cleanup()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, it neither answers nor closes a connection."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_cluster() -> Iterator[str]:
    """The URL of a cluster of one node, which has all slots; skips without Redis."""
    bus = str(free_port())  # that of clients and 10,000, as it comes, may be one that the system gives to a client
    with _started(RedisServer(options=("--cluster-enabled", "yes", "--cluster-port", bus))) as node:
        with redis.Redis(port=node.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield f"redis+cluster://127.0.0.1:{node.port}"


@contextmanager
def redis_with_sentinel() -> Iterator[tuple[str, RedisServer]]:
    """The URL of a Redis with a replica, and the first of them; a Sentinel promotes the replica when it is gone."""
    at_once = ("--repl-diskless-sync-delay", "0")  # it waits 5 s for other replicas
    with (
        _started(RedisServer(options=at_once)) as master,
        _started(RedisServer(options=("--replicaof", f"127.0.0.1 {master.port}"))),
    ):
        lines = [
            f"sentinel monitor users 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds users 1000",
            "sentinel failover-timeout users 5000",
        ]
        with tempfile.NamedTemporaryFile("w", prefix="userapi_", suffix=".conf") as file:
            file.write("\n".join([*lines, ""]))
            file.flush()
            with _started(RedisServer(options=("--sentinel",), file=file.name)) as sentinel:
                with redis.Redis(port=sentinel.port) as client:
                    wait_until(lambda: client.execute_command("SENTINEL REPLICAS", "users"))
                yield f"redis+sentinel://127.0.0.1:{sentinel.port}/users", master


def wait_promoted(storage: str, gone: RedisServer) -> None:
    """Wait until the Sentinel of a storage sends clients to another primary than the one that is gone."""
    with redis.Redis(port=urlsplit(storage).port or 0) as client:
        wait_until(lambda: client.sentinel_masters()["users"]["port"] != gone.port)


@contextmanager
def _started(server: RedisServer) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        skip_without("redis", "there is no redis-server")
    try:
        server.start()
        yield server
    finally:
        server.stop()
