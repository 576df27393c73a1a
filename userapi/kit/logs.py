"""The log: one line a request, named events, and uvicorn's own loggers, all in one format."""

import json
import logging
import logging.config
import re
import time
from contextvars import ContextVar
from typing import Any, Literal

LogFormat = Literal["text", "json"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
address: ContextVar[str | None] = ContextVar("address", default=None)
user_agent: ContextVar[str | None] = ContextVar("user_agent", default=None)
command: ContextVar[str | None] = ContextVar("command", default=None)  # of the operator, by which this is done
caller: ContextVar[tuple[int, int] | None] = ContextVar("caller", default=None)  # ids of the user and the session

_events = logging.getLogger("userapi.events")
_SECRETS = re.compile(r"\$2[aby]\$\S+|\beyJ[\w-]+\.[\w.-]+")
_PLAIN = re.compile(r"[\w./:@{}+-]+")


def begin_request(given_id: str, from_address: str | None, by_agent: str | None) -> None:
    """Take note of the request that is served from here on, and that nobody is known to have made it yet."""
    request_id.set(given_id)
    address.set(from_address)
    user_agent.set(by_agent)
    caller.set(None)


def event(name: str, **fields: Any) -> None:
    """Log a named event with its fields and, unless it names others, by whom, in which session and from where."""
    by, session_id = caller.get() or (None, None)
    for field, value in (("by", by), ("session_id", session_id), ("ip", address.get())):
        if value is not None:
            fields.setdefault(field, value)
    _events.info(name, extra={"fields": fields})


def configuration(log_format: LogFormat) -> dict[str, Any]:
    """Return the configuration of all loggers, for `logging.config.dictConfig`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonFormatter if log_format == "json" else TextFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "alembic": {"level": "WARNING"},
            "asyncmy": {"level": "ERROR"},  # it passes on the server's remarks, as on names of primary keys
            "uvicorn": {"handlers": [], "propagate": True},
            "uvicorn.error": {"handlers": [], "propagate": True},
            "uvicorn.access": {"handlers": [], "propagate": False},  # our line says more
        },
    }


def configure(log_format: LogFormat) -> None:
    """Make all loggers of this process write in one format, and collect nothing for a line that it does not say."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    vars(logging)["_srcfile"] = None  # as the manual of `logging` has it ("Optimization"): nobody looks for the caller
    logging.config.dictConfig(configuration(log_format))


class _Formatter(logging.Formatter):
    """What both formats share: the time in UTC to the millisecond, the fields, tracebacks without secrets."""

    _second, _date = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the time of a record; the second's text is made once a second."""
        second = int(record.created)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._date}.{int(record.msecs):03d}Z"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the fields of a record, and the id of the request in which it was made."""
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if (current := request_id.get()) is not None:
            fields["request_id"] = current
        return fields

    def traceback(self, record: logging.LogRecord) -> str | None:
        """Return the traceback of a record, if there is one, without hashes and tokens."""
        return _SECRETS.sub("[secret]", self.formatException(record.exc_info)) if record.exc_info else None


class TextFormatter(_Formatter):
    """A line for people; what a client chose is quoted, so that it cannot start another line (CWE-117)."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `time LEVEL logger message name=value ...`."""
        parts = [self.formatTime(record), record.levelname, record.name, _one_line(record.getMessage())]
        for name, value in self.fields(record).items():
            parts.append(f"{name}={value if isinstance(value, int | float) else _quoted(value)}")
        traceback = self.traceback(record)
        return " ".join(parts) + (f"\n{traceback}" if traceback else "")


class JsonFormatter(_Formatter):
    """A line for machines: one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object on one line."""
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        line |= {"message": record.getMessage(), **self.fields(record)}
        if traceback := self.traceback(record):
            line["traceback"] = traceback
        return json.dumps(line, default=str)


def _one_line(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
