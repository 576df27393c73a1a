"""Traces by OpenTelemetry, sent to a real receiver of OTLP over HTTP."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.client import Api, client_of
from tests.support.databases import new_database
from tests.support.people import PASSWORD
from tests.support.processes import ROOT, refused_to_start, run, wait_until
from tests.support.schema import migrate
from tests.support.servers import serving


class Receiver:
    """A collector of traces: it takes what an exporter posts to /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library calls it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {one.key: one.value.string_value for one in resource.resource.attributes}
            self.services.add(told["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@contextmanager
def traced(kind: str, receiver: Receiver) -> Iterator[Api]:
    with new_database(kind) as url:
        migrate(url)
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1", **settings) as server, client_of(server) as api:
            yield api


def told(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


class TestTraces:
    def test_have_a_request_with_the_statements_it_made(self, kind: str, receiver: Receiver) -> None:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        with traced(kind, receiver) as api:
            alice = api.new_user("alice")
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
            path = f"/users/{alice['id']}"
            assert api.admin.patch(path, json={"email": "hidden@example.com"}, headers=headers).status_code == 200
            wait_until(lambda: receiver.named("PATCH /users/{user_id}"))
            [request] = receiver.named("PATCH /users/{user_id}")
            assert (request.trace_id.hex(), request.kind) == (trace, Span.SPAN_KIND_SERVER)
            assert (told(request)["http.route"], told(request)["http.response.status_code"]) == (
                "/users/{user_id}",
                "200",
            )
            ours = [span for span in receiver.spans if span.trace_id == request.trace_id and span is not request]
            statements = " ".join(told(span).get("db.statement", told(span).get("db.query.text", "")) for span in ours)
            assert "UPDATE users" in statements
            assert "INSERT INTO events" in statements
            assert {span.parent_span_id for span in ours} == {request.span_id}
            sent = "".join(f"{span.name} {span.attributes} {span.events} {span.status}" for span in receiver.spans)
            for secret in ("hidden@example.com", PASSWORD, "$2b$", "eyJ"):
                assert secret not in sent
        assert receiver.services == {"userapi"}

    def test_of_the_last_requests_are_sent_when_the_service_ends(self, receiver: Receiver) -> None:
        with new_database("sqlite") as url:
            migrate(url)
            settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
            with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1", **settings):
                assert not receiver.spans
        assert receiver.named("GET /health/live")

    def test_receiver_that_is_away_does_not_hinder(self, receiver: Receiver) -> None:
        receiver.close()
        with traced("sqlite", receiver) as api:
            assert api.admin.get("/users/me").status_code == 200


class TestStart:
    def test_without_the_packages_is_refused_with_what_to_install(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
        hidden = f"{tmp_path}:{ROOT}"
        endpoint = "http://127.0.0.1:4318"
        done = run(
            "userapi", "migrate", url="sqlite://", fresh=True, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, PYTHONPATH=hidden
        )
        assert "pip install opentelemetry-exporter-otlp-proto-http" in refused_to_start(done)
