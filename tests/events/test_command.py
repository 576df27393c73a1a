"""`python -m userapi events`, and the forms that others read."""

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.client import Api
from tests.support.commands import command
from tests.support.events import events, named
from tests.support.insides import EventName, EventPublic, ocsf
from tests.support.people import NEW_PASSWORD
from tests.support.processes import ROOT, environment

# What OCSF 1.3.0 requires of the two classes, and of the objects in them; a set is "at least one of".
REQUIRED = ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "user"]
OBJECTS: dict[str, tuple[list[str], set[str]]] = {
    "metadata": (["product", "version"], set()),
    "user": ([], {"account", "name", "uid"}),
    "actor": ([], {"app_name", "app_uid", "invoked_by", "process", "session", "user"}),
    "service": ([], {"name", "uid"}),
    "src_endpoint": (
        [],
        {"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain"},
    ),
    "session": ([], set()),
    "http_request": ([], set()),
}
ACTIVITIES = {3001: {*range(11), 99}, 3002: {*range(6), 99}, 0: {99}}


class TestForms:
    @pytest.fixture
    def written(self, api: Api) -> Api:
        alice = api.new_user("alice")
        api.admin.patch(f"/users/{alice['id']}", json={"email": "söme\n@example.com", "age": 7})
        api.admin.patch(f"/users/{alice['id']}", json={"age": 8})
        return api

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_jsonl_is_what_the_api_answers(self, written: Api) -> None:
        done = command("events", "--jsonl", url=written.server.url)
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        kept = sorted(events(written.admin), key=lambda event: event["id"])  # the API has them by time
        assert len(printed) >= 3
        assert printed == [event for event in kept if event["id"] <= printed[-1]["id"]]

    def test_text_is_a_line_for_each(self, written: Api) -> None:
        done = command("events", url=written.server.url)
        assert done.returncode == 0, done.stderr
        # The service counts failed logins of the test before and writes these late.
        lines = [line for line in done.stdout.splitlines() if " login_failed " not in line]
        assert [line.split(" ")[2] for line in lines] == ["login_succeeded", "user_created", "user_changed"]
        assert 'changes={"age": {"old": null, "new": 8}}' in lines[-1]

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_after_an_id_come_those_above_it(self, written: Api) -> None:
        ids = sorted((event["id"] for event in events(written.admin)), reverse=True)
        done = command("events", "--jsonl", "--after", str(ids[1]), url=written.server.url)
        assert json.loads(done.stdout.splitlines()[0])["id"] == ids[0]


class TestFollow:
    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    def test_prints_what_happens_once_each(self, api: Api) -> None:
        assert api.admin.token
        program = [sys.executable, "-m", "userapi", "events", "--follow", "--jsonl"]
        settings = environment(api.server.url)
        with subprocess.Popen(program, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                first = process.stdout.readline()  # by now it follows
                alice = api.new_user("alice")
                api.http.post("/token", data={"username": "alice", "password": NEW_PASSWORD})
                named(api, "login_failed", user_id=alice["id"])
                api.admin.delete(f"/users/{alice['id']}")
                printed = [json.loads(first)]
                while printed[-1]["name"] != "user_deleted":
                    printed.append(json.loads(process.stdout.readline()))
            finally:
                process.kill()
        # The service counts failed logins of the test before and writes these late.
        names = [event["name"] for event in printed if (event["user_id"] or 0) >= api.admin.id]
        assert names == ["login_succeeded", "user_created", "login_failed", "user_deleted"]

    @pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
    def test_signals_end_it_without_a_word(self, api: Api, how: signal.Signals, code: int) -> None:
        """With the exit codes that shells give to programs that these have ended."""
        assert api.admin.token
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
            signal.signal(signal.SIGINT, signal.default_int_handler)
        program = [sys.executable, "-m", "userapi", "events", "--follow"]
        settings = environment(api.server.url)
        pipe = subprocess.PIPE
        with subprocess.Popen(program, cwd=ROOT, env=settings, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline()  # by now it follows
                process.send_signal(how)
                rest, errors = process.communicate(timeout=20)
            finally:
                process.kill()
        assert (process.returncode, errors) == (code, "")
        assert re.fullmatch(r"(\d+ \S+ login_\w+ .*\n)*", rest), "nothing but whole events"


def event(name: str, **fields: Any) -> EventPublic:
    """An event with everything, or with nothing."""
    everything = {"actor_id": 2, "user_id": 3, "session_id": 4, "address": "192.0.2.1", "user_agent": "x"}
    everything |= {"request_id": "r", "changes": {"age": {"old": 1, "new": 2}}, "details": {"count": 3}}
    nothing = dict.fromkeys(everything)
    values = {**(nothing if fields.pop("bare", False) else everything), **fields}
    return EventPublic(id=5, at=datetime(2026, 1, 2, tzinfo=UTC), name=name, **values)


class TestOCSF:
    @pytest.mark.parametrize("bare", [False, True])
    @pytest.mark.parametrize("name", list(EventName))
    def test_has_what_the_schema_requires(self, name: str, bare: bool) -> None:
        found = ocsf(event(name, bare=bare))
        needed = REQUIRED if found["class_uid"] else [one for one in REQUIRED if one != "user"]
        assert not [one for one in needed if one not in found]
        assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
        assert found["category_uid"] == found["class_uid"] // 1000
        assert found["activity_id"] in ACTIVITIES[found["class_uid"]]
        assert found["class_uid"] != 3002 or "service" in found
        assert found["time"] == 1767312000000
        for one, (all_of, any_of) in OBJECTS.items():
            if one in found:
                assert not [part for part in all_of if part not in found[one]]
                assert not any_of or any_of & found[one].keys()
        assert found["metadata"]["product"]["vendor_name"]
        assert None not in found.get("unmapped", {}).values()
        json.dumps(found)

    def test_says_who_whom_from_where_and_how_it_ended(self) -> None:
        found = ocsf(event("login_failed"))
        assert (found["class_uid"], found["activity_id"], found["status_id"], found["count"]) == (3002, 1, 2, 3)
        assert (found["user"]["uid"], found["actor"]["user"]["uid"]) == ("3", "2")
        assert (found["src_endpoint"]["ip"], found["session"]["uid"]) == ("192.0.2.1", "4")
        found = ocsf(event("password_changed", actor_id="operator", details={"command": "set-password"}))
        assert (found["class_uid"], found["activity_id"], found["status_id"]) == (3001, 3, 1)
        assert found["actor"] == {"app_name": "python -m userapi set-password"}
