"""Delivery: whatever the mail server does, no mail is lost or sent by two at once, and no request waits for it."""

import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session, select

from tests.mail.test_codes import on
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.databases import ON_SQLITE, new_database
from tests.support.insides import Database, OutboxMail, User, mail_rules, now, outbox
from tests.support.log_lines import parsed
from tests.support.mail import APP, certificate, mail_server, read, text_of
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.processes import free_port, wait_until
from tests.support.schema import migrate
from tests.support.servers import Server, launched, serving


@contextmanager
def service(url: str, *options: str, **settings: str) -> Iterator[Api]:
    """A client of a service of its own."""
    settings = {"FIRST_ADMIN_PASSWORD": "Not-Used-1", "MAIL_NOTICES": "password_changed", **settings}
    with serving(url, *options, **settings) as server, client_of(server) as api:
        yield api


def notify(api: Api, name: str = "alice") -> str:
    """Have a user told that its password was changed; give the address."""
    user = api.new_user(name)
    assert api.admin.patch(f"/users/{user['id']}", json={"password": NEW_PASSWORD}).status_code == 200
    return f"{name}@example.com"


def row(api: Api) -> dict[str, Any]:
    """The one mail there is."""
    with api.server.engine.connect() as connection:
        columns: list[Any] = [getattr(OutboxMail, name) for name in OutboxMail.model_fields]
        [found] = connection.execute(sa.select(*columns)).mappings()
    return dict(found)


def make_due(api: Api) -> None:
    """Let the time pass until the next try: of the back-off, or of the claim of a process that is no more."""
    api.execute(sa.text("UPDATE outbox SET due_at = created_at WHERE due_at IS NOT NULL"))


def _tried_again(api: Api, attempts: int) -> bool:
    return row(api)["attempts"] > attempts and row(api)["error"] is not None


def events(server: Server, name: str) -> list[dict[str, Any]]:
    return [line for line in map(parsed, list(server.output)) if line and line["message"] == name]


class TestMessage:
    """RFC 5322, RFC 3834."""

    @ON_SQLITE
    def test_is_text_and_html_and_says_that_it_is_automatic(self, url: str) -> None:
        sender = "Ex\u00e4mple <accounts@example.com>"
        with mail_server() as server, service(url, **server.settings, MAIL_FROM=sender) as api:
            notify(api)
            [mail] = server.to("alice@example.com")
            assert mail.get_content_type() == "multipart/alternative"
            assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
            assert mail["From"] == sender
            assert mail["X-From"] == "accounts@example.com"
            assert mail["X-To"] == "['alice@example.com']"
            assert mail["Auto-Submitted"] == "auto-generated"
            assert abs(mail["Date"].datetime.timestamp() - time.time()) < 60
            assert mail["Message-ID"] == f"<{row(api)['message_id']}@example.com>"
            assert f'<a href="{APP}/account/forgot">' in text_of(mail, "html")

    @ON_SQLITE
    def test_domain_that_is_not_ascii_is_written_so_that_each_server_takes_it(self, url: str) -> None:
        """RFC 5891."""
        with mail_server() as server, service(url, **server.settings) as api:
            user = api.new_user("alice", email="alice@b\u00fccher.example")
            api.admin.patch(f"/users/{user['id']}", json={"password": NEW_PASSWORD})
            server.to("alice@xn--bcher-kva.example")

    @ON_SQLITE
    @pytest.mark.parametrize("scheme", ["smtp", "file"])
    def test_mailbox_that_is_not_ascii_gets_its_mail(self, url: str, tmp_path: Path, scheme: str) -> None:
        """RFC 6531."""
        address = "j\u00f6rg@b\u00fccher.example"
        with mail_server() as server:
            settings = server.settings if scheme == "smtp" else {"MAIL_URL": f"file://{tmp_path}"}
            with service(url, **settings) as api:
                user = api.new_user("alice", email=address)
                api.admin.patch(f"/users/{user['id']}", json={"password": NEW_PASSWORD})
                folder = server.folder if scheme == "smtp" else tmp_path
                wait_until(lambda: [mail for mail in read(folder) if mail["To"] == address])


class TestTransport:
    @ON_SQLITE
    @pytest.mark.parametrize("behaviour", ["deliver", "smtps"])
    def test_over_tls_logs_in(self, url: str, behaviour: str) -> None:
        with mail_server(behaviour, tls=True) as server, service(url, **server.settings) as api:
            server.to(notify(api))

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ("no STARTTLS", "STARTTLS"),
            ("unknown authority", "CERTIFICATE_VERIFY_FAILED"),
            ("wrong password", "535"),
        ],
    )
    def test_without_tls_or_login_sends_nothing(self, url: str, fault: str, told: str) -> None:
        """A password and a link are for the right server only; and as the operator may mend it, the mail waits."""
        with mail_server(tls=fault != "no STARTTLS") as server:
            login = "" if fault == "no STARTTLS" else "postman:wrong@"
            settings = {"MAIL_URL": f"smtp://{login}127.0.0.1:{server.port}", "SSL_CERT_FILE": certificate()}
            if fault == "unknown authority":
                del settings["SSL_CERT_FILE"]
            with service(url, **settings) as api:
                notify(api)
                wait_until(lambda: told in (row(api)["error"] or ""))
                assert row(api)["due_at"] is not None
                assert server.mails == []

    @ON_SQLITE
    def test_into_a_folder_writes_a_file_for_its_owner_only(self, url: str, tmp_path: Path) -> None:
        folder = tmp_path / "my mails"
        with service(url, MAIL_URL=f"file://{str(folder).replace(' ', '%20')}") as api:
            notify(api)
            wait_until(lambda: folder.exists() and [mail["To"] for mail in read(folder)] == ["alice@example.com"])
            [file] = folder.iterdir()
            assert file.stat().st_mode & 0o777 == 0o600

    @ON_SQLITE
    def test_to_the_console_prints_it_and_logs_nothing_of_it(self, url: str) -> None:
        """S11."""
        with launched(url, FIRST_ADMIN_PASSWORD="Not-Used-1", MAIL_URL="console:", LOG_FORMAT="json") as server:
            with client_of(server.wait()) as api:
                notify(api)
            wait_until(lambda: "--- Mail to alice@example.com: Your password was changed\n" in server.text)
            logged = [line for line in list(server.output) if line.startswith("{")]
            assert not [line for line in logged if "alice@example.com" in line or "password of your account" in line]


class TestOutage:
    """A mail that a server does not take is tried again."""

    def test_mail_waits_until_the_server_is_back(self, url: str) -> None:
        port = free_port()
        with service(url, MAIL_URL=f"smtp://127.0.0.1:{port}?starttls=never") as api:
            address = notify(api)
            wait_until(lambda: row(api)["error"])
            assert row(api)["due_at"] > row(api)["created_at"]
            with mail_server(port=port) as server:
                make_due(api)
                server.to(address)
                wait_until(lambda: row(api)["sent_at"])
            assert row(api)["attempts"] >= 2

    @ON_SQLITE
    def test_server_that_says_later_is_asked_later(self, url: str) -> None:
        """RFC 5321 section 4.5.4.1: by itself, after 5 s at first."""
        with mail_server("later", 1) as server, service(url, **server.settings) as api:
            begun = time.monotonic()
            server.to(notify(api))
            assert time.monotonic() - begun >= 5
            wait_until(lambda: row(api)["sent_at"])
            assert (row(api)["attempts"], row(api)["due_at"], row(api)["error"]) == (2, None, None)
            wait_until(lambda: [event["attempts"] for event in events(api.server, "mail_sent")] == ["2"])

    def test_pauses_grow_up_to_an_hour_and_end_after_a_day(self, url: str) -> None:
        async def work(database: Database) -> None:
            await database.write(put_in)
            pauses = []
            for _ in range(8):
                [claimed] = await database.write(outbox.claim, 10)
                assert await database.write(outbox.claim, 10) == []
                await database.write(outbox.mark_failed, claimed, "late", final=False)
                due = await database.read(outbox.next_due)
                assert due is not None
                pauses.append((due - now()).total_seconds())
                await database.write(age, timedelta(hours=1))
            for pause, expected in zip(pauses, [5, 20, 80, 320, 1280, 3600, 3600, 3600], strict=True):
                assert expected - 4 < pause <= expected
            await database.write(age, timedelta(hours=15, minutes=30))
            [claimed] = await database.write(outbox.claim, 10)
            await database.write(outbox.mark_failed, claimed, "late", final=False)
            assert await database.read(outbox.next_due) is None
            [given_up] = await database.read(outbox.find_waiting, 10)
            assert (given_up.attempts, given_up.error) == (9, "late")

        def put_in(db: Session) -> None:
            mail_rules.enqueue(db, "test", db.exec(select(User)).one())

        def age(db: Session, by: timedelta) -> None:
            mail = db.exec(select(OutboxMail)).one()
            mail.created_at, mail.give_up_at = mail.created_at - by, mail.give_up_at - by
            mail.due_at = mail.created_at

        on(url, work)

    @ON_SQLITE
    def test_mailbox_that_is_not_there_is_given_up_at_once(self, url: str) -> None:
        with mail_server("unknown", 1) as server, service(url, **server.settings) as api:
            notify(api)
            wait_until(lambda: events(api.server, "mail_given_up"))
            [given_up] = events(api.server, "mail_given_up")
            assert given_up["kind"] == "password_changed"
            assert "550" in given_up["error"]
            assert "550" in row(api)["error"]
            assert (row(api)["due_at"], row(api)["sent_at"]) == (None, None)

    @ON_SQLITE
    def test_server_that_drops_the_line_after_the_mail_gets_it_again_as_the_same(self, url: str) -> None:
        """Whoever reads both can tell that they are one."""
        with mail_server("drop", 1) as server, service(url, **server.settings) as api:
            address = notify(api)
            wait_until(lambda: row(api)["error"])
            make_due(api)
            first, second = server.to(address, 2)
            assert first["Message-ID"] == second["Message-ID"]
            assert first["Date"] == second["Date"]
            wait_until(lambda: row(api)["sent_at"])
            assert len(server.mails) == 2


class TestKilled:
    def test_between_the_commit_and_the_sending_loses_nothing(self, url: str) -> None:
        """Nobody listens when the change is committed, and the process dies at once."""
        port = free_port()
        settings = {"MAIL_URL": f"smtp://127.0.0.1:{port}?starttls=never"}
        with service(url, **settings) as api:
            user = api.new_user("alice")
            assert api.admin.patch(f"/users/{user['id']}", json={"password": NEW_PASSWORD}).status_code == 200
            os.kill(api.server.process.pid, signal.SIGKILL)
            api.server.process.wait()
            make_due(api)
            with mail_server(port=port) as server, serving(url, **settings):
                assert len(server.to("alice@example.com")) == 1
                wait_until(lambda: row(api)["sent_at"])
                assert len(server.mails) == 1

    @ON_SQLITE
    def test_in_the_middle_of_sending_sends_at_most_once_more(self, url: str) -> None:
        """The server has the mail and does not say so; nobody else tries it before the claim has ended."""
        with mail_server("stall", 1) as server:
            with service(url, **server.settings) as api:
                address = notify(api)
                server.to(address)
                os.kill(api.server.process.pid, signal.SIGKILL)
                api.server.process.wait()
            with serving(url, **server.settings) as again:
                claimed = row(api)
                assert claimed["sent_at"] is None
                assert claimed["due_at"] - claimed["created_at"] >= outbox.LEASE
                assert len(server.mails) == 1
                make_due(api)
                first, second = server.to(address, 2)
                assert first["Message-ID"] == second["Message-ID"]
                wait_until(lambda: row(api)["sent_at"])
                assert not events(again, "mail_given_up")
            assert len(server.mails) == 2


class TestManyProcesses:
    def test_of_two_services_and_their_workers_one_sends_each_mail(self, kind: str) -> None:
        with new_database(kind) as url, mail_server() as server:
            migrate(url)
            workers = () if kind == "sqlite" else ("--workers", "2")
            with service(url, *workers, **server.settings) as api, serving(url, **server.settings):
                users = [api.new_user(f"user{number}") for number in range(12)]
                for password in (NEW_PASSWORD, PASSWORD, NEW_PASSWORD):
                    for user in users:
                        changed = api.admin.patch(f"/users/{user['id']}", json={"password": password})
                        assert changed.status_code == 200
                wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL") == [(36,)])
                assert Counter(mail["To"] for mail in server.mails) == {user["email"]: 3 for user in users}
                assert len({mail["Message-ID"] for mail in server.mails}) == 36
                assert {attempts for (attempts,) in api.sql("SELECT attempts FROM outbox")} == {1}


class TestSlowServer:
    @ON_SQLITE
    def test_slows_no_request_and_no_end(self, url: str) -> None:
        """Reads and writes with a server that never answers take as long as without mails."""

        def seconds(work: Any, count: int) -> list[float]:
            taken = []
            for _ in range(count):
                begun = time.perf_counter()
                work()
                taken.append(time.perf_counter() - begun)
            return sorted(taken)

        with mail_server("hang") as server, service(url, **server.settings) as api:
            user = api.new_user("alice")
            quiet = seconds(lambda: api.admin.get("/users/me"), 200)
            change = {"password": NEW_PASSWORD}
            seconds(lambda: api.admin.patch(f"/users/{user['id']}", json=change), 10)
            wait_until(lambda: api.sql("SELECT count(*) FROM outbox WHERE attempts > 0") == [(4,)])
            busy = seconds(lambda: api.admin.get("/users/me"), 200)
            changes = seconds(lambda: api.admin.patch(f"/users/{user['id']}", json=change), 10)
            assert statistics.median(busy) < 2 * statistics.median(quiet) + 0.05
            assert busy[-10] < 0.5
            assert changes[-1] < 5
            begun = time.monotonic()
            api.server.stop()
            assert time.monotonic() - begun < 15


@ON_SQLITE
class TestCommand:
    def test_shows_what_waits_and_sends_it_again(self, url: str) -> None:
        port = free_port()
        settings = {"MAIL_URL": f"smtp://127.0.0.1:{port}?starttls=never"}
        with service(url, **settings) as api:
            assert "No mail waits" in command("mail", url=url, **settings).stdout
            address = notify(api)
            wait_until(lambda: row(api)["error"])
            for _ in range(2):  # so that it is put off for long enough
                attempts = row(api)["attempts"]
                make_due(api)
                wait_until(partial(_tried_again, api, attempts))
            shown = command("mail", url=url, **settings).stdout
            assert f"1 password_changed to {address}, tried 3 times, waits until" in shown
            assert "SMTPConnectError" in shown
            with mail_server(port=port) as server:
                done = command("mail", "--again", url=url, **settings)
                assert "1 will be sent now" in done.stdout
                server.to(address)
                wait_until(lambda: row(api)["sent_at"])
            assert "No mail waits" in command("mail", url=url, **settings).stdout

    def test_sends_again_what_was_given_up(self, url: str) -> None:
        with mail_server("unknown", 1) as server, service(url, **server.settings) as api:
            address = notify(api)
            wait_until(lambda: events(api.server, "mail_given_up"))
            assert "given up: SMTPRecipientsRefused" in command("mail", url=url).stdout
            assert "1 will be sent now" in command("mail", "--again", url=url).stdout
            server.to(address)

    def test_says_what_is_wrong_with_a_template(self, url: str, tmp_path: Path) -> None:
        (tmp_path / "en").mkdir()
        (tmp_path / "en" / "password_changed.jinja").write_text("{% block subject %}{{ nothing }}{% endblock %}")
        with mail_server() as server, service(url, **server.settings, MAIL_TEMPLATES=str(tmp_path)) as api:
            notify(api)
            wait_until(lambda: row(api)["error"])
            assert "UndefinedError: 'nothing' is undefined" in command("mail", url=url).stdout
            assert row(api)["due_at"] is not None
