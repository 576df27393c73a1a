"""The log: a line a request, named events, one format, nothing secret."""

import asyncio
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.conftest import shared_server
from tests.logins import refresh
from tests.service import (
    ADMIN_PASSWORD,
    PASSWORD,
    SECRET_KEY,
    Actor,
    Api,
    Server,
    migrate,
    new_database,
    refused_to_start,
    run,
    serving,
    wait_until,
)
from userapi.database import Database, note

NEW_PASSWORD = "Other-Saddle-8"
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


@pytest.fixture(scope="module", params=["text", "json"])
def logging_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A service that logs in one of the formats; the database has no part in it."""
    settings = {"LOG_FORMAT": request.param, "THROTTLE_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with shared_server("sqlite", **settings) as server:
        yield server


@pytest.fixture
def logged(logging_server: Server) -> Iterator[Api]:
    api = Api(logging_server)
    yield api
    api.close()


class Request:
    """A request and the lines that the service logs of it, found by its id."""

    def __init__(self, api: Api, method: str, path: str, actor: Actor | None = None, **options: Any) -> None:
        self.id = secrets.token_hex(8)
        headers = {"X-Request-ID": self.id, **options.pop("headers", {})}
        request = actor.request if actor else api.http.request
        self._output = api.server.output
        self.answer = request(method, path, headers=headers, **options)
        wait_until(lambda: any(line["message"] == "request" for line in self.lines))

    @property
    def raw(self) -> list[str]:
        return [line for line in list(self._output) if self.id in line]

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


class TestRequestLine:
    @pytest.mark.parametrize(
        ("method", "path", "template", "status"),
        [
            ("GET", "/users/me", "/users/me", 200),
            ("GET", "/users/{id}", "/users/{user_id}", 200),
            ("GET", "/users?q=secret-name", "/users", 200),
            ("PATCH", "/users/{id}?x=secret-name", "/users/{user_id}", 422),
            ("GET", "/users/2147483647", "/users/{user_id}", 404),
            ("DELETE", "/users/{id}/sessions/2147483647", "/users/{user_id}/sessions/{session_id}", 404),
            ("GET", "/health/live", "/health/live", 200),
            ("GET", "/no/secret-name", "-", 404),
            ("PUT", "/token", None, 405),
        ],
    )
    def test_tells_method_path_template_status_and_duration(
        self, logged: Api, method: str, path: str, template: str | None, status: int
    ) -> None:
        done = Request(logged, method, path.format(id=logged.admin.id), logged.admin)
        line = done.line
        assert done.answer.status_code == status
        assert (line["level"], line["logger"]) == ("INFO", "userapi.requests")
        assert (line["method"], str(line["status"])) == (method, str(status))
        assert template is None or line["path"] == template
        assert 0 < float(line["ms"]) < 10_000
        assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(seconds=60)
        assert line["time"].endswith("Z")
        assert "secret-name" not in "".join(done.raw)

    def test_tells_who_made_it(self, logged: Api) -> None:
        assert str(Request(logged, "GET", "/users/me", logged.admin).line["user_id"]) == str(logged.admin.id)
        assert Request(logged, "GET", "/users/me").line["user_id"] == "-"
        stranger = Actor(logged, {}, "x")
        assert Request(logged, "GET", "/users/me", stranger).line["user_id"] == "-"

    @pytest.mark.parametrize("content", [b"x" * 70_000, [b"x" * 70_000]], ids=["declared", "chunked"])
    def test_of_one_that_is_too_large(self, logged: Api, content: Any) -> None:
        """S18."""
        done = Request(logged, "POST", "/users", logged.admin, content=content)
        assert (done.answer.status_code, str(done.line["status"])) == (413, "413")


class TestRequestId:
    @pytest.mark.parametrize("given", ["a", "A-1.b_2:c", "0" * 64, "3fa85f64-5717-4562-b3fc-2c963f66afa6"])
    def test_given_one_is_taken_and_echoed(self, logged: Api, given: str) -> None:
        answer = logged.http.get("/health/live", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given

    @pytest.mark.parametrize(
        "given",
        [None, "", "0" * 65, "a b", "a;b", 'a"b', "<script>", "ünïcode".encode(), b"\xff", "a/b", "a=b c=d", "%0d%0a"],
        ids=ascii,
    )
    def test_absent_or_odd_one_is_replaced(self, logged: Api, given: Any) -> None:
        """S22."""
        ids = set()
        for _ in range(2):
            headers = {} if given is None else {"X-Request-ID": given}
            made = logged.http.get("/health/live", headers=headers).headers["X-Request-ID"]
            assert re.fullmatch(r"[0-9a-f]{16}", made)
            ids.add(made)
        assert len(ids) == 2
        wait_until(lambda: all(any(made in line for line in list(logged.server.output)) for made in ids))

    def test_errors_carry_it_too(self, logged: Api) -> None:
        for method, path in (("GET", "/users"), ("GET", "/nowhere"), ("DELETE", "/token"), ("POST", "/token")):
            done = Request(logged, method, path)
            assert done.answer.headers["X-Request-ID"] == done.id


class TestEvents:
    """Named, with what an auditor asks for."""

    def login(self, api: Api, username: str, password: str, **headers: str) -> Request:
        return Request(api, "POST", "/token", data={"username": username, "password": password}, headers=headers)

    def test_login(self, logged: Api) -> None:
        alice = logged.new_user("alice")
        event = self.login(logged, "alice", PASSWORD).events["login_succeeded"]
        assert (event["level"], str(event["user_id"]), event["ip"]) == ("INFO", str(alice["id"]), "127.0.0.1")
        rows = logged.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=alice["id"])
        assert [str(row[0]) for row in rows] == [str(event["session_id"])]

    def test_failed_login(self, logged: Api) -> None:
        """S7: the log may tell what the answer does not."""
        alice = logged.new_user("alice")
        name = f"u{secrets.token_hex(6)}"
        for username, user_id in (("alice", alice["id"]), (name, None)):
            done = self.login(logged, username, NEW_PASSWORD)
            assert done.events.keys() == {"login_failed"}
            event = done.events["login_failed"]
            assert (event["login"], str(event["user_id"]), event["ip"]) == (username, str(user_id), "127.0.0.1")

    def test_throttled_login(self, logged: Api) -> None:
        """S6."""
        name = f"u{secrets.token_hex(6)}"
        for _ in range(5):
            self.login(logged, name, NEW_PASSWORD)
        done = self.login(logged, name, NEW_PASSWORD)
        assert done.answer.status_code == 429
        assert done.events.keys() == {"login_throttled"}
        assert done.events["login_throttled"]["login"] == name

    def test_user_made_and_deleted(self, logged: Api) -> None:
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        made = Request(logged, "POST", "/users", logged.admin, json=body)
        user_id = made.answer.json()["id"]
        assert str(made.events["user_created"]["user_id"]) == str(user_id)
        gone = Request(logged, "DELETE", f"/users/{user_id}", logged.admin)
        assert str(gone.events["user_deleted"]["user_id"]) == str(user_id)

    def test_password_changed(self, logged: Api) -> None:
        alice = logged.new_actor("alice")
        logged.token("alice")
        body = {"password": NEW_PASSWORD, "current_password": PASSWORD}
        done = Request(logged, "PATCH", "/users/me", alice, json=body)
        assert done.events.keys() == {"password_changed", "session_revoked"}
        event = done.events["password_changed"]
        assert (str(event["user_id"]), str(event["by"])) == (str(alice.id), str(alice.id))

    def test_admin_granted(self, logged: Api) -> None:
        alice = logged.new_user("alice")
        done = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json={"is_admin": True})
        event = done.events["admin_granted"]
        assert (str(event["user_id"]), str(event["by"])) == (str(alice["id"]), str(logged.admin.id))
        again = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json={"is_admin": True})
        assert again.events == {}

    @pytest.mark.parametrize("how", ["revoke", "end one", "end all", "deactivate"])
    def test_session_revoked(self, logged: Api, how: str) -> None:
        alice = logged.new_actor("alice")
        session_id = logged.sql("SELECT id FROM login_sessions WHERE user_id = :id", id=alice.id)[0][0]
        done = {
            "revoke": lambda: Request(logged, "POST", "/revoke", data={"token": alice.token}),
            "end one": lambda: Request(logged, "DELETE", f"/users/me/sessions/{session_id}", alice),
            "end all": lambda: Request(logged, "DELETE", "/users/me/sessions", alice),
            "deactivate": lambda: Request(logged, "PATCH", alice.path, logged.admin, json={"is_active": False}),
        }[how]()
        assert str(done.events["session_revoked"]["user_id"]) == str(alice.id)

    def test_reused_refresh_token(self, logged: Api) -> None:
        """S20."""
        logged.new_user("alice")
        pair = logged.grant("alice")
        second = refresh(logged, pair["refresh_token"]).json()
        refresh(logged, second["refresh_token"])
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        done = Request(logged, "POST", "/token", data=form)
        assert done.answer.status_code == 400
        assert "again" in done.events["session_revoked"]["reason"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"password": NEW_PASSWORD, "username": "admin", "is_admin": True}, 400),
            ({"password": "Xx-alice-77", "is_admin": True}, 422),
        ],
        ids=str,
    )
    def test_what_was_refused_is_no_event(self, logged: Api, body: dict[str, Any], status: int) -> None:
        alice = logged.new_user("alice")
        done = Request(logged, "PATCH", f"/users/{alice['id']}", logged.admin, json=body)
        assert done.answer.status_code == status
        assert done.events == {}

    def test_that_is_not_committed_is_not_logged(self, empty_sqlite: str, caplog: pytest.LogCaptureFixture) -> None:
        """An event that did not happen must not be in the log."""

        def orphan(session: Session) -> None:
            note(session, "never_happened")
            session.connection().exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            columns = "user_id, generation, created_at, rotated_at, expires_at"
            session.connection().exec_driver_sql(
                f"INSERT INTO login_sessions ({columns}) VALUES (999, 1, '2025-01-01', '2025-01-01', '2025-01-01')"
            )

        def nothing(session: Session) -> None:
            note(session, "happened")

        async def both() -> None:
            database = Database(empty_sqlite)
            with pytest.raises(sa.exc.IntegrityError):
                await database.write(orphan)  # the commit itself fails
            await database.write(nothing)
            await database.close()

        with caplog.at_level(logging.INFO, "userapi.events"):
            asyncio.run(both())
        assert [record.message for record in caplog.records if record.name == "userapi.events"] == ["happened"]


@pytest.fixture
def empty_sqlite() -> Iterator[str]:
    with new_database("sqlite") as url:
        migrate(url)
        yield url


class TestInjection:
    """S22: what a client chooses cannot look like something else."""

    @pytest.mark.parametrize(
        "text",
        [
            "eve\r\n2025-01-01T00:00:00.000Z INFO userapi.events login_succeeded user_id=1",
            'eve\n{"message": "login_succeeded", "user_id": 1}',
            'eve" user_id=1 message="login_succeeded',
            "eve user_id=1",
            "eve\u2028user_id=1\u0085x\x0b\x0cy",
            "eve\x1b[2J\x1b[31mred\x07",
            "eve\0\x7f",
            "\u202eeve",
            "%s %d {x} %(message)s",
            "\N{GRINNING FACE}" * 20,
        ],
        ids=lambda text: ascii(text)[:20],
    )
    def test_odd_username_stays_one_field_of_one_line(self, logged: Api, text: str) -> None:
        """S22."""
        text = f"{secrets.token_hex(3)}{text}"
        done = Request(logged, "POST", "/token", data={"username": text, "password": PASSWORD})
        event = done.events["login_failed"]
        assert event["login"] == text[:64]
        assert len(done.raw) == 2
        for line in done.raw:
            assert line.rstrip("\n").isprintable()

    def test_long_username_is_cut(self, logged: Api) -> None:
        done = Request(logged, "POST", "/token", data={"username": "x" * 50_000, "password": PASSWORD})
        assert len("".join(done.raw)) < 1000

    @pytest.mark.parametrize("path", ["/%0d%0aforged", "/users/%0aforged", "/users/%1b%5b2Jforged", "/x%20status=200"])
    def test_odd_path_is_not_repeated(self, logged: Api, path: str) -> None:
        """S22."""
        done = Request(logged, "GET", path, logged.admin)
        assert "forged" not in "".join(done.raw)
        assert len(done.raw) == 1

    def test_forwarded_address_stays_one_field(self, logged: Api) -> None:
        """S22: even a proxy may pass on what a client says."""
        headers = {"X-Forwarded-For": "eve user_id=1"}
        name = f"u{secrets.token_hex(6)}"
        done = Request(logged, "POST", "/token", data={"username": name, "password": PASSWORD}, headers=headers)
        assert done.events["login_failed"]["ip"] == "eve user_id=1"


SECRET = re.compile(r"\$2[aby]\$|eyJ")


class TestSecrets:
    """S11."""

    def test_no_password_hash_or_token_is_logged(self, logged: Api) -> None:
        """S11."""
        alice = logged.new_actor("alice")
        pair = logged.grant("alice")
        odd = {"username": 5, "email": PASSWORD, "password": PASSWORD, "current_password": PASSWORD}
        broken = f'{{"password": "{PASSWORD}", '.encode()
        Request(logged, "POST", "/users", logged.admin, json=odd)
        Request(logged, "PUT", "/users/me", alice, json=odd)
        Request(logged, "PATCH", "/users/me", alice, content=broken, headers={"Content-Type": "application/json"})
        Request(logged, "POST", "/token", data={"username": "alice", "password": NEW_PASSWORD})
        Request(logged, "POST", "/token", json={"username": "alice", "password": PASSWORD})
        Request(logged, "GET", f"/users?after={pair['access_token']}&token={pair['access_token']}", logged.admin)
        Request(logged, "GET", f"/users/{pair['access_token']}", logged.admin)
        Request(logged, "GET", f"/{PASSWORD}", logged.admin)
        for token in (pair["refresh_token"], pair["access_token"], f"{pair['refresh_token']}x"):
            refresh(logged, token)
        Request(logged, "POST", "/revoke", data={"token": pair["refresh_token"]})
        Request(logged, "GET", "/users/me", Actor(logged, {}, pair["access_token"]))
        text = logged.server.text
        assert not SECRET.search(text)
        for secret in (PASSWORD, NEW_PASSWORD, ADMIN_PASSWORD, SECRET_KEY):
            assert secret not in text

    def test_unexpected_error_answers_500_in_the_common_shape_and_logs_no_secret(self, logged: Api) -> None:
        """S11."""
        alice = logged.new_user("alice")
        marker = secrets.token_hex(8)
        hashed = logged.sql("SELECT hashed_password FROM users WHERE username = 'alice'")[0][0]
        token = jwt.encode({"sub": "1"}, SECRET_KEY, "HS256")
        # No date: reading it fails in a way that nobody has foreseen, and the error repeats it.
        logged.sql("UPDATE users SET created_at = :junk WHERE username = 'alice'", junk=f"{marker} {hashed} {token} ''")
        logged.http.event_hooks = {}  # no document promises a 500
        done = Request(logged, "GET", f"/users/{alice['id']}", logged.admin)
        assert done.answer.status_code == 500
        assert done.answer.json() == {"detail": "Internal server error", "code": "internal_error"}
        assert done.answer.headers["X-Request-ID"] == done.id
        assert done.answer.headers["Cache-Control"] == "no-store"
        assert done.answer.headers["X-Content-Type-Options"] == "nosniff"
        assert str(done.line["status"]) == "500"
        (error,) = (line for line in done.lines if line["level"] == "ERROR")
        assert error["logger"] == "userapi.requests"
        text = logged.server.text
        assert "Traceback" in text
        assert marker in text, "the traceback did not repeat the value: nothing was tried"
        assert "[secret]" in text
        assert not SECRET.search(text)
        assert hashed not in text
        assert logged.admin.get("/users/me").status_code == 200


class TestFormat:
    def started(self, server: Server, is_line: Callable[[str], bool]) -> list[str]:
        """The lines since the server itself began; before it, `serve` tells the operator some things."""
        lines = list(server.output)
        begin = next(index for index, line in enumerate(lines) if is_line(line))
        return lines[begin:]

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_every_line_of_json_is_an_object(self, workers: str) -> None:
        """uvicorn's too, from the first to the last."""
        # Python itself prints warnings; uvicorn's parent process leaves a socket open, which is no matter by default.
        settings: Any = {"LOG_FORMAT": "json", "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD, "PYTHONWARNINGS": ""}
        with new_database("sqlite") as url, serving(url, "--workers", workers, **settings) as server:
            with server.client() as http:
                http.post("/token", data={"username": "admin", "password": PASSWORD})
                http.get("/nowhere")
            server.stop()
            lines = [json.loads(line) for line in self.started(server, lambda line: line.startswith("{"))]
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
        messages = [line["message"] for line in lines if line["logger"].startswith("uvicorn")]
        assert any("Uvicorn running" in message for message in messages)
        assert any("shut" in message.lower() or "Stopping" in message for message in messages)
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
                wait_until(lambda: any('"plain"' in line for line in list(server.output)))
                (line,) = (json.loads(line) for line in list(server.output) if '"plain"' in line)
        assert (line["message"], line["status"]) == ("request", 404)

    @pytest.mark.parametrize("value", ["xml", "JSON", "text,json"])
    def test_unknown_format_is_refused(self, value: str) -> None:
        with new_database("sqlite") as url:
            assert refused_to_start(run("userapi", "serve", url=url, LOG_FORMAT=value)).startswith("LOG_FORMAT: ")
