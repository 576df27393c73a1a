"""The endpoint for Prometheus, in each process that serves: whichever is asked adds up what all have measured."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from userapi.errors import Refusal
from userapi.metrics.settings import MetricSettings

HOST = "127.0.0.1"


@contextmanager
def served(settings: MetricSettings, first: bool, alone: bool) -> Iterator[None]:
    """Answer `GET /metrics` at `METRICS_PORT` of this host meanwhile.

    A process that is `alone` measures in its memory. Several measure in files of one folder, and share the port, of
    which the `first` one sees to it that nobody else has it.

    Raises:
        Refusal: The port cannot be had.
    """
    if settings.metrics_port is None:
        yield
        return
    registry = _registry(alone)
    from prometheus_client import make_wsgi_app  # noqa: PLC0415 - not before `_registry` has named the folder

    try:
        if first:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, settings.metrics_port))
        server = make_server(HOST, settings.metrics_port, make_wsgi_app(registry), _Server, _Handler)
    except OSError as error:
        raise Refusal(f"METRICS_PORT {settings.metrics_port} cannot be had: {error.strerror}") from error
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    allow_reuse_port = True  # with the other workers
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing: whoever scrapes does so all the time."""


def _registry(alone: bool) -> Any:
    """Return where to collect from: the memory of this process, or the files of all."""
    if alone:
        from prometheus_client import REGISTRY  # noqa: PLC0415 - only if it is asked for

        return REGISTRY
    folder = _folder(os.getppid())
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # the library looks for it when it is imported
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - so not before
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 - as above

    registry = CollectorRegistry()
    registry.register(_OfWorkers(folder, MultiProcessCollector(None, str(folder))))  # type: ignore[no-untyped-call]
    return registry


def _folder(supervisor: int) -> Path:
    """Return the folder of all workers of a supervisor; remove those whose supervisor is gone.

    Raises:
        Refusal: Somebody else has made it.
    """
    above = Path(tempfile.gettempdir()) / f"userapi-metrics-{os.getuid()}"
    above.mkdir(mode=0o700, exist_ok=True)
    if above.is_symlink() or above.stat().st_uid != os.getuid():
        raise Refusal(f"{above} is for the metrics, but belongs to somebody else")
    for old in above.iterdir():
        if not Path(f"/proc/{old.name}").exists() and Path("/proc/self").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = above / str(supervisor)
    folder.mkdir(exist_ok=True)
    return folder


class _OfWorkers:
    """Collects what workers have measured; how things stood in those that are gone does not count."""

    def __init__(self, folder: Path, collector: Any) -> None:
        self._folder, self._collector = folder, collector

    def collect(self) -> Iterable[Any]:
        """Return the sums of all workers."""
        for file in self._folder.glob("gauge_live*_*.db"):
            pid = file.stem.rpartition("_")[2]
            if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
                file.unlink(missing_ok=True)
        found: Iterable[Any] = self._collector.collect()
        return found
