"""What a mail brings is in the mail, and nowhere else: not in the database, the log or an error."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlmodel import Session, select

from tests.mail.test_codes import by_code
from tests.support.databases import ON_SQLITE, sync_engine
from tests.support.insides import Keyring, MailContext, Services, Settings, User, mail_rules, running
from tests.support.mail import APP, code_in, mail_server, text_of
from tests.support.processes import SECRET_KEY
from tests.support.schema import insert_admin

TEMPLATE = """{% block subject %}A code{% endblock %}
{% block text %}Open {{ app_url }}/test?token={{ token }} or type {{ code }} in {{ minutes }} minutes.{% endblock %}
{% block html %}<a href="{{ app_url }}/test?token={{ token }}">open</a> or type {{ code }}{% endblock %}
"""


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "test.jinja").write_text(TEMPLATE)
    return tmp_path


@asynccontextmanager
async def sending(url: str, templates: Path, mail_url: str, secret_key: str = SECRET_KEY) -> AsyncIterator[Services]:
    """The parts of a service that sends, in this process: no route asks for a code here."""
    settings = Settings(
        _env_file=None,
        database_url=url,
        secret_key=SecretStr(secret_key),
        mail_url=SecretStr(mail_url),
        mail_templates=templates,
        app_url=APP,
    )
    async with Services(settings) as services:
        await services.database.write(_admin)
        async with running(services):
            yield services


def _admin(db: Session) -> None:
    if db.exec(select(User)).first() is None:
        insert_admin(db.connection())


def ask(db: Session, keyring: Keyring, lifetime: timedelta = timedelta(minutes=30)) -> bool:
    user = db.exec(select(User)).one()
    return mail_rules.send_code(db, MailContext(keyring), "test", user, lifetime)


def dump(url: str) -> str:
    """Everything in the tables of mail."""
    engine = sync_engine(url)
    with engine.connect() as connection:
        tables = ("outbox", "one_time_codes", "mail_clients")
        found = [connection.execute(sa.text(f"SELECT * FROM {table}")).all() for table in tables]
    engine.dispose()
    return str(found)


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not so after 20 s")


class TestCode:
    def test_is_in_the_mail_only(self, url: str, templates: Path, caplog: pytest.LogCaptureFixture) -> None:
        """S11: while it waits, the database has nothing to use, and after it, nothing at all."""

        async def work() -> None:
            with mail_server() as server:
                async with sending(url, templates, server.settings["MAIL_URL"]) as services:
                    await services.database.write(ask, services.keyring)
                    waiting = dump(url)
                    await until(lambda: server.mails)
                    [mail] = server.mails
                    [token] = re.findall(rf"{APP}/test\?token=([\w-]{{43}})", text_of(mail))
                    code = code_in(mail)
                    assert f"{token}" in text_of(mail, "html")
                    await until(lambda: "gAAAAA" not in dump(url))  # how what is sealed begins
                    for text in (waiting, dump(url), caplog.text):
                        assert token not in text
                        assert code not in text
                        assert code.replace("-", "") not in text
                    assert "gAAAAA" in waiting
                    assert await services.database.write(by_code, code, keyring=services.keyring) is not None

        asyncio.run(work())

    @ON_SQLITE
    def test_is_not_told_by_a_server_that_repeats_what_it_refuses(
        self, url: str, templates: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """S11."""

        async def work() -> None:
            with mail_server("refuse", 1) as server:
                async with sending(url, templates, server.settings["MAIL_URL"]) as services:
                    await services.database.write(ask, services.keyring)
                    await until(lambda: "SMTPDataError" in dump(url))
                    assert "'SMTPDataError: 554 5.7.1'" in dump(url)
                    assert "token" not in caplog.text

        asyncio.run(work())

    @ON_SQLITE
    def test_that_expires_is_not_sent_for_longer_and_forgotten(self, url: str, templates: Path) -> None:
        async def work() -> None:
            with mail_server("later", 1) as server:
                async with sending(url, templates, server.settings["MAIL_URL"]) as services:
                    await services.database.write(ask, services.keyring, timedelta(seconds=3))
                    await until(lambda: "SMTPRecipientsRefused" in dump(url))
                    assert "gAAAAA" not in dump(url)
                    assert server.mails == []

        asyncio.run(work())

    @ON_SQLITE
    def test_is_sent_after_a_new_key_came_before_the_old_but_not_without(self, url: str, templates: Path) -> None:
        async def work() -> None:
            new = SECRET_KEY[::-1]
            for keys, arrives in ((f"{new},{SECRET_KEY}", True), (new, False)):
                with mail_server() as server:
                    async with sending(url, templates, server.settings["MAIL_URL"], keys) as services:
                        kept = Keyring([SECRET_KEY])  # the key of the process that wrote it
                        await services.database.write(Session.execute, sa.text("DELETE FROM outbox"))
                        assert await services.database.write(ask, kept)
                        await until(lambda: "gAAAAA" not in dump(url))
                        assert bool(server.mails) == arrives
                        assert ("the secret key is gone" in dump(url)) != arrives

        asyncio.run(work())
