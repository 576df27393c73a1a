"""The log: one format for all lines."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.commands import command
from tests.support.databases import new_database
from tests.support.log_lines import TEXT
from tests.support.people import ADMIN_PASSWORD, PASSWORD
from tests.support.processes import refused_to_start, wait_until
from tests.support.servers import Server, serving


class TestFormat:
    def started(self, server: Server, is_line: Callable[[str], bool]) -> list[str]:
        """The lines since the server itself began; before it, `serve` tells the operator some things."""
        lines = server.output
        begin = next(index for index, line in enumerate(lines) if is_line(line))
        return lines[begin:]

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_every_line_of_json_is_an_object(self, workers: str) -> None:
        """The supervisor's and uvicorn's too, from the first to the last."""
        settings: Any = {"LOG_FORMAT": "json", "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
        with new_database("sqlite") as url, serving(url, "--workers", workers, **settings) as server:
            with server.client() as http:
                http.post("/token", data={"username": "admin", "password": PASSWORD})
                http.get("/nowhere")
            wait_until(lambda: server.text.count("Application startup complete") == int(workers))
            server.stop()
            lines = [json.loads(line) for line in self.started(server, lambda line: line.startswith("{"))]
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
        said = [(line["logger"].partition(".")[0], line["message"]) for line in lines]
        assert ("userapi", f"serving on {server.base_url}") in said
        assert ("userapi", "shutting down") in said
        ended = said.count(("uvicorn", "Application shutdown complete."))
        assert 1 <= ended <= int(workers)  # one that has only just begun is ended at once
        assert sum(line["message"] == "request" and line["status"] == 404 for line in lines) == 1

    def test_every_line_of_text_has_time_level_and_logger(self) -> None:
        with new_database("sqlite") as url, serving(url, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
            with server.client() as http:
                http.post("/token", data={"username": "admin", "password": PASSWORD})
            server.stop()
            lines = self.started(server, lambda line: TEXT.fullmatch(line.strip()) is not None)
        for line in lines:
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ [\w.]+ ", line), line
        assert sum("Application shutdown complete" in line for line in lines) == 1

    def test_plain_uvicorn_logs_the_same_way(self) -> None:
        with new_database("sqlite") as url:
            command = ("uvicorn", "userapi.main:app")
            with serving(url, command=command, LOG_FORMAT="json", FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD) as server:
                with server.client(headers={"X-Request-ID": "plain"}) as http:
                    http.get("/nowhere")
                wait_until(lambda: any('"plain"' in line for line in server.output))
                (line,) = (json.loads(line) for line in server.output if '"plain"' in line)
        assert (line["message"], line["status"]) == ("request", 404)

    @pytest.mark.parametrize("value", ["xml", "JSON", "text,json"])
    def test_unknown_format_is_refused(self, value: str) -> None:
        with new_database("sqlite") as url:
            assert refused_to_start(command("serve", url=url, LOG_FORMAT=value)).startswith("LOG_FORMAT: ")
