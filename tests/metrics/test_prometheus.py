"""Metrics for Prometheus."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from os import kill
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import sqlalchemy as sa

from tests.support.client import Api, client_of
from tests.support.databases import new_database, skip_without
from tests.support.insides import OutboxMail, now
from tests.support.metrics import Metrics
from tests.support.people import ADMIN_PASSWORD, NEW_PASSWORD
from tests.support.processes import ROOT, children, environment, free_port, refused_to_start, run, wait_until
from tests.support.schema import migrate
from tests.support.servers import Server, serving

FOLDER = ROOT / "userapi" / "metrics"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(port: int) -> Iterator[Server]:
    """A service that is measured, of one process."""
    with new_database("sqlite") as url:
        migrate(url)
        with serving(url, METRICS_PORT=str(port), FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            yield server


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with client_of(server) as api:
        yield api


@pytest.fixture
def metrics(port: int, api: Api) -> Metrics:
    return Metrics(port)


class TestOneProcess:
    def test_requests_are_counted_by_route_template_and_status(self, api: Api, metrics: Metrics) -> None:
        labels = {"method": "GET", "route": "/users/{user_id}"}
        before = metrics.total("userapi_request_seconds_count", **labels, status=200)
        for _ in range(3):
            api.admin.get(api.admin.path)
        assert api.admin.get("/users/2147483647").status_code == 404
        metrics.wait_for(before + 3, "userapi_request_seconds_count", **labels, status=200)
        metrics.wait_for(1, "userapi_request_seconds_count", **labels, status=404)
        seconds = metrics.total("userapi_request_seconds_sum", **labels, status=200)
        assert 0 < seconds < 3 * 10
        assert metrics.total("userapi_request_seconds_bucket", **labels, status=200, le="10.0") == before + 3

    def test_paths_that_are_none_share_one_label(self, api: Api, metrics: Metrics) -> None:
        """S31: whoever asks for odd paths makes no new series."""
        before = metrics.total("userapi_request_seconds_count", route="-", status=404)
        for number in range(5):
            api.http.get(f"/no/{number}")
        metrics.wait_for(before + 5, "userapi_request_seconds_count", route="-", status=404)

    def test_logins_are_counted_by_outcome_and_locks(self, api: Api, metrics: Metrics) -> None:
        """S6."""
        assert api.admin.token
        before = {name: metrics.total("userapi_logins_total", outcome=name) for name in ("succeeded", "failed")}
        api.new_user("alice")
        api.grant("admin", ADMIN_PASSWORD)
        for _ in range(6):
            api.http.post("/token", data={"username": "alice", "password": NEW_PASSWORD})
        assert metrics.total("userapi_logins_total", outcome="succeeded") == before["succeeded"] + 1
        assert metrics.total("userapi_logins_total", outcome="failed") == before["failed"] + 5
        assert metrics.total("userapi_logins_total", outcome="throttled") == 1
        assert metrics.total("userapi_throttle_locks_total") == 1
        assert metrics.total("userapi_events_total", name="user_created") >= 1

    def test_units_connections_queue_and_storage_are_sampled(self, api: Api, metrics: Metrics) -> None:
        units = {kind: metrics.total("userapi_units_total", kind=kind) for kind in ("read", "write")}
        api.new_user("bob")
        wait_until(lambda: all(metrics.total("userapi_units_total", kind=kind) > units[kind] for kind in units))
        metrics.wait_for(3, "userapi_connections_in_use")  # of a file, one for each purpose
        metrics.wait_for(0, "userapi_bcrypt_queue")
        assert metrics.total("userapi_throttle_storage_up") == 1

    def test_sessions_alive_are_counted(self, api: Api, metrics: Metrics) -> None:
        api.new_user("alice")
        for _ in range(3):
            api.grant("alice")
        metrics.wait_for(4, "userapi_rows", name="sessions_alive")

    def test_mails_that_wait_are_counted(self, api: Api, metrics: Metrics) -> None:
        """Neither those that were sent, nor those that are sent to nobody."""
        later = now() + timedelta(hours=1)
        mail = OutboxMail(kind="", message_id="", details="{}", created_at=now(), give_up_at=later)
        rows = [mail.model_dump(exclude={"id"}) | {"due_at": due} for due in (later, later, None)]
        api.execute(sa.insert(OutboxMail), rows)
        metrics.wait_for(2, "userapi_rows", name="outbox")

    def test_are_not_where_everybody_looks(self, api: Api) -> None:
        assert api.http.get("/metrics").status_code == 404


class TestWorkers:
    def test_several_are_added_up_and_one_that_died_is_not_forgotten(self) -> None:
        port = free_port()
        metrics = Metrics(port)
        with new_database("sqlite") as url:
            migrate(url)
            settings = {"METRICS_PORT": str(port), "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD}
            with serving(url, "--workers", "3", **settings) as server:
                wait_until(lambda: server.text.count("Application startup complete") == 3)

                def ask(many: int) -> None:
                    for _ in range(many):
                        with server.client() as http:  # a connection each: any worker may take it
                            assert http.get("/health/ready").status_code == 200

                def wait_for(many: int) -> None:
                    metrics.wait_for(many, "userapi_request_seconds_count", route="/health/ready", status=200)

                ask(30)
                wait_for(30)
                metrics.wait_for(9, "userapi_connections_in_use")
                worker = int(re.findall(r"Started server process \[(\d+)\]", server.text)[0])
                assert worker in children(server.process.pid)
                kill(worker, signal.SIGKILL)
                wait_until(lambda: server.text.count("Application startup complete") == 4)
                ask(30)
                wait_for(60)
                metrics.wait_for(9, "userapi_connections_in_use")

    def test_unit_that_waits_for_another_process_is_counted_as_a_rerun(self) -> None:
        port = free_port()
        with new_database("sqlite") as url:
            migrate(url)
            settings = {"METRICS_PORT": str(port), "FIRST_ADMIN_PASSWORD": "Not-Used-1"}
            with serving(url, **settings) as server, client_of(server) as api:
                assert api.admin.token
                with server.engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    assert api.admin.patch("/users/me", json={"age": 7}).status_code == 503
                    connection.exec_driver_sql("ROLLBACK")
                metrics = Metrics(port)
                wait_until(lambda: metrics.total("userapi_unit_reruns_total", reason="busy") > 10)
                metrics.wait_for(1, "userapi_units_unavailable_total")


class TestStart:
    def test_taken_port_is_refused_in_a_sentence(self, server: Server, port: int) -> None:
        done = run("userapi", "serve", "--port", str(free_port()), url=server.url, METRICS_PORT=str(port))
        assert f"METRICS_PORT {port}" in refused_to_start(done)

    def test_without_the_settings_nothing_is_imported(self) -> None:
        """What is off costs nothing, not even memory."""
        names = "[name for name in ('prometheus_client', 'opentelemetry.sdk') if name in sys.modules]"
        done = run_code(f"import sys, userapi.cli, userapi.main; userapi.main.app; print({names})")
        assert done.stdout == "[]\n", done.stderr


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment("sqlite://"), capture_output=True, text=True, check=False)


class TestRecipes:
    def test_alerts_are_rules_that_prometheus_loads(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            skip_without("promtool", "there is no promtool")
            return
        done = subprocess.run(
            [promtool, "check", "rules", FOLDER / "alerts.yml"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "5 rules found" in done.stdout

    @pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
    def test_name_metrics_that_there_are(self, name: str, api: Api, metrics: Metrics) -> None:
        api.http.post("/token", data={"username": "nobody", "password": NEW_PASSWORD})
        text = httpx.get(metrics.url, verify=False, timeout=30).text
        there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
        named = set(re.findall(r"userapi_\w+", re.sub(r"userapi-\w+", "", expressions(FOLDER / name))))
        stems = {re.sub(r"_(bucket|count|sum)$", "", one) for one in named}
        assert stems
        assert stems <= there | {one.removesuffix("_total") for one in there}


def expressions(path: Path) -> str:
    if path.suffix != ".json":
        return path.read_text()
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return "\n".join(target["expr"] for panel in panels for target in panel["targets"])
