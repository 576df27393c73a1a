"""The endpoint for Prometheus, in the process of `serve`: it adds up what all workers have measured."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from userapi.errors import Refusal
from userapi.metrics.settings import MetricSettings


@contextmanager
def served(settings: MetricSettings, host: str, workers: bool) -> Iterator[None]:
    """Answer `GET /metrics` at `METRICS_PORT` meanwhile.

    Workers are other processes: they measure in files of a folder that is theirs as long as this lasts, in which they
    find it by its name in the environment. One process measures in its memory.

    Raises:
        Refusal: The port cannot be had.
    """
    if settings.metrics_port is None:
        yield
        return
    with _registry(workers) as registry:
        from prometheus_client import start_http_server  # noqa: PLC0415 - not before `_registry` has named the folder

        try:
            server, thread = start_http_server(settings.metrics_port, host, registry)
        except OSError as error:
            raise Refusal(f"METRICS_PORT {settings.metrics_port} cannot be had: {error.strerror}") from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def _registry(workers: bool) -> Iterator[Any]:
    """Return where to collect from: the memory of this process, or the files of its workers."""
    if not workers:
        from prometheus_client import REGISTRY  # noqa: PLC0415 - only if it is asked for

        yield REGISTRY
        return
    with tempfile.TemporaryDirectory(prefix="userapi-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # the library looks for it when it is imported
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - so not before
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 - as above

        registry = CollectorRegistry()
        registry.register(_OfWorkers(folder, MultiProcessCollector(None, folder)))  # type: ignore[no-untyped-call]
        yield registry


class _OfWorkers:
    """Collects what workers have measured; how things stood in those that are gone does not count."""

    def __init__(self, folder: str, collector: Any) -> None:
        self._folder, self._collector = Path(folder), collector

    def collect(self) -> Iterable[Any]:
        """Return the sums of all workers."""
        for file in self._folder.glob("gauge_live*_*.db"):
            pid = file.stem.rpartition("_")[2]
            if not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
                file.unlink(missing_ok=True)
        found: Iterable[Any] = self._collector.collect()
        return found
