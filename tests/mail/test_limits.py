"""How often mails are sent that somebody asks for, and that nobody can tell from it who has an account."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from sqlmodel import Session, select

from tests.mail.test_codes import KEYRING, at_once, by_token, issue, on, statements
from tests.support.databases import ON_SQLITE, sync_engine
from tests.support.insides import Database, MailClient, MailContext, OutboxMail, User, mail_rules

HERE = MailContext(KEYRING)
LIFETIME = timedelta(minutes=30)


def ask(db: Session, /, *, known: bool = True, kind: str = "test", context: MailContext = HERE) -> bool:
    user = db.exec(select(User)).first() if known else None
    return mail_rules.send_code(db, context, kind, user, LIFETIME)


def rows(db: Session) -> list[tuple[str, str | None]]:
    return [(row.kind, row.recipient) for row in db.exec(select(OutboxMail).order_by(sa.column("id")))]


def sent_earlier(db: Session, by: timedelta) -> None:
    for mail in db.exec(select(OutboxMail)):
        mail.created_at -= by


def an_hour_later(db: Session) -> None:
    for client in db.exec(select(MailClient)):
        client.since -= timedelta(hours=1)


class TestAccount:
    def test_gets_one_mail_of_a_kind_in_two_minutes(self, url: str) -> None:
        async def work(database: Database) -> None:
            assert await database.write(ask)
            assert not await database.write(ask)
            assert await database.write(ask, kind="other")
            await database.write(sent_earlier, timedelta(minutes=2))
            assert await database.write(ask)

        on(url, work)

    def test_of_forty_requests_at_once_sends_one_mail(self, url: str) -> None:
        async def work(database: Database) -> None:
            other = Database(url)
            answers = await at_once(one.write(ask) for one in (database, other) * 20)
            await other.close()
            assert sum(answers) == 1

        on(url, work)

    @ON_SQLITE
    def test_gets_five_a_day(self, url: str) -> None:
        async def work(database: Database) -> None:
            for _ in range(5):
                assert await database.write(ask)
                await database.write(sent_earlier, timedelta(hours=4))
            assert not await database.write(ask)  # the first was 20 hours ago
            await database.write(sent_earlier, timedelta(hours=4))
            assert await database.write(ask)

        on(url, work)

    @ON_SQLITE
    def test_that_gets_no_new_mail_keeps_its_code(self, url: str) -> None:
        async def work(database: Database) -> None:
            assert await database.write(ask, kind="other")
            issued = await database.write(issue)  # stands for the code of the mail before
            await database.write(lambda db: mail_rules.enqueue(db, "test", db.exec(select(User)).one()))
            assert not await database.write(ask)
            assert await database.write(by_token, issued.token) is not None

        on(url, work)


class TestNetwork:
    def test_may_ask_for_twenty_in_an_hour_whoever_they_are_for(self, url: str) -> None:
        async def work(database: Database) -> None:
            other = Database(url)
            here = HERE._replace(network="192.0.2.1")
            both = [(one, known) for known in (True, False) for one in (database, other) * 10]
            await at_once(one.write(ask, known=known, context=here) for one, known in both)
            for _ in range(20 - len(await database.write(rows))):  # for which there was no time
                await database.write(ask, context=here)
            for known in (True, False):
                assert not await database.write(ask, known=known, context=here)
                assert len(await database.write(rows)) == 20
            await database.write(ask, known=False, context=HERE._replace(network="192.0.2.2"))
            await database.write(an_hour_later)
            for _ in range(21):
                await database.write(ask, known=False, context=here)
            assert len(await database.write(rows)) == 41
            await other.close()

        on(url, work)

    def test_who_waits_for_a_user_holds_up_nobody(self, url: str, kind: str) -> None:
        """R11: others who have the user's row may wait for that of the network."""
        if kind == "sqlite":
            pytest.skip("SQLite has no locks of rows")
        context = HERE._replace(network="192.0.2.1")

        async def work(database: Database) -> None:
            assert await database.write(ask, context=context)
            engine = sync_engine(url, poolclass=sa.NullPool)
            with engine.connect() as holder:
                holder.execute(sa.text("SELECT id FROM users FOR UPDATE"))
                waiting = asyncio.ensure_future(database.write(ask, kind="other", context=context))
                done, _ = await asyncio.wait({waiting}, timeout=1)
                assert not done
                assert holder.execute(sa.text("SELECT asked FROM mail_clients FOR UPDATE NOWAIT")).all() == [(1,)]
            assert await waiting

        on(url, work)


class TestWhoeverAsks:
    def test_costs_the_same_statements(self, url: str) -> None:
        """S7: for an account, one that has had its mail, and none."""

        def compare(db: Session) -> None:
            user = db.exec(select(User)).one()
            first, again, nobody = (
                statements(db, partial(mail_rules.send_code, db, HERE, "test", who, LIFETIME))
                for who in (user, user, None)
            )
            assert len(first) == 5
            assert first == again == nobody
            assert rows(db) == [("test", "admin@example.com"), ("test", None), ("test", None)]

        on(url, lambda database: database.write(compare))
