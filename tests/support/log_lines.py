"""Lines of the log, and the requests they are of."""

import json
import re
import secrets
from typing import Any

from tests.support.client import Actor, Api
from tests.support.processes import wait_until

# A line of LOG_FORMAT=text: time, level, logger, message, fields.
TEXT = re.compile(
    r'(?P<time>\S+) (?P<level>[A-Z]+) (?P<logger>[\w.]+) (?P<message>.*?)(?P<fields>( \w+=("([^"\\]|\\.)*"|\S+))*)'
)


FIELD = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|\S+)')


Line = dict[str, Any]


def parsed(line: str) -> Line | None:
    """A line of either format as its parts; None for one that is of neither."""
    line = line.rstrip("\n")
    if line.startswith("{"):
        fields: Line = json.loads(line)
        return fields
    match = TEXT.fullmatch(line)
    if match is None:
        return None
    found = match.groupdict()
    fields = {name: json.loads(value) if value[0] == '"' else value for name, value in FIELD.findall(found["fields"])}
    return {name: found[name] for name in ("time", "level", "logger", "message")} | fields


class Request:
    """A request and the lines that the service logs of it, found by its id."""

    def __init__(self, api: Api, method: str, path: str, actor: Actor | None = None, **options: Any) -> None:
        self.id = secrets.token_hex(8)
        headers = {"X-Request-ID": self.id, **options.pop("headers", {})}
        request = actor.request if actor else api.http.request
        self._server = api.server
        self.answer = request(method, path, headers=headers, **options)
        wait_until(lambda: any(line["message"] == "request" for line in self.lines))

    @property
    def raw(self) -> list[str]:
        return [line for line in self._server.output if self.id in line]

    @property
    def lines(self) -> list[Line]:
        return [line for line in map(parsed, self.raw) if line]

    @property
    def line(self) -> Line:
        """The one line a request has."""
        (line,) = (line for line in self.lines if line["message"] == "request")
        return line

    @property
    def events(self) -> dict[str, Line]:
        """The events that happened in it, by name."""
        found = [line for line in self.lines if line["logger"] == "userapi.events"]
        assert len({line["message"] for line in found}) == len(found)
        return {line["message"]: line for line in found}
