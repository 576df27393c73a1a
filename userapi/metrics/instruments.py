"""What is measured, and how it is called. Importing this module costs; only who measures does."""

import logging
from collections import Counter as Tally
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from userapi.kit.announcements import Announcement

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OUTCOMES = {"login_succeeded": "succeeded", "login_failed": "failed", "login_throttled": "throttled"}

requests = Histogram(
    "userapi_request_seconds",
    "Requests by method, route and status, and how long they took",
    ["method", "route", "status"],
    buckets=_BUCKETS,
)
happened = Counter("userapi_events", "What was announced, by name", ["name"])
logins = Counter("userapi_logins", "Logins by outcome", ["outcome"])
locks = Counter("userapi_throttle_locks", "Locks of accounts by wrong passwords")
units = Counter("userapi_units", "Units of work by kind, each time that one ran", ["kind"])
reruns = Counter("userapi_unit_reruns", "Second and later runs of units, by what befell the one before", ["reason"])
unavailable = Counter("userapi_units_unavailable", "Units that were given up, as the database did not answer")


def _gauge(name: str, text: str, labels: tuple[str, ...] = (), mode: Any = "livesum") -> Gauge:
    return Gauge(name, text, labels, multiprocess_mode=mode)


connections = _gauge("userapi_connections_in_use", "Connections to the database in use, by kind of unit", ("kind",))
hashing = _gauge("userapi_bcrypt_queue", "Passwords that are hashed or wait for it")
storage_up = _gauge(
    "userapi_throttle_storage_up", "Whether the throttle's shared storage answers, if there is one", mode="livemin"
)
counted = _gauge("userapi_rows", "Rows of the database that capabilities count, by name", ("name",), "livemostrecent")


class FromLog(logging.Handler):
    """Measures requests by the line that the log has of each: what costs nothing while nobody measures."""

    def emit(self, record: logging.LogRecord) -> None:
        """Measure a request."""
        told = getattr(record, "fields", {})
        requests.labels(told["method"], told["path"], told["status"]).observe(told["ms"] / 1000)


def count(announcement: Announcement) -> None:
    """Count what was announced."""
    happened.labels(announcement.name).inc()
    if outcome := _OUTCOMES.get(announcement.name):
        logins.labels(outcome).inc()
    elif announcement.name == "login_locked":
        locks.inc()


class Sampler:
    """Reads what the parts of a service know of themselves."""

    def __init__(self, services: Any) -> None:
        """Begin with the services of a process."""
        self._services = services
        self._seen: Tally[str] = Tally()

    def sample(self) -> None:
        """Take over how things stand now, and how much was done since the last time."""
        services = self._services
        done = services.database.tally - self._seen
        self._seen += done
        for what, many in done.items():
            if what in {"read", "write"}:
                units.labels(what).inc(many)
            elif what == "unavailable":
                unavailable.inc(many)
            else:
                reruns.labels(what).inc(many)
        for kind, engine in services.database.engines.items():
            in_use = getattr(engine.pool, "checkedout", None)  # those of an SQLite file have one each, always
            connections.labels(kind).set(in_use() if in_use else 1)
        hashing.set(services.passwords.waiting)
        shared = services.throttle is not None and services.settings.throttle_storage_url is not None
        storage_up.set(not (shared and services.throttle.alone))
