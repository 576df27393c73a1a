"""One-time codes: consumed once, by whoever comes first, and of no use to who reads the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlmodel import Session, col, select

from tests.support.databases import ON_SQLITE
from tests.support.insides import Database, DatabaseUnavailable, Keyring, OneTimeCode, User, codes, now
from tests.support.processes import SECRET_KEY
from tests.support.schema import insert_admin

KEYRING = Keyring([SECRET_KEY])
T = TypeVar("T")
HALF_AN_HOUR = timedelta(minutes=30)


def issue(
    db: Session, /, purpose: str = "test", *, known: bool = True, data: str | None = None, bound: bool = True
) -> codes.Issued:
    user = db.exec(select(User)).one() if known else None
    return codes.issue(db, KEYRING, purpose, user, HALF_AN_HOUR, data=data, bound=bound)


def by_token(db: Session, token: str, purpose: str = "test", keyring: Keyring = KEYRING) -> tuple[str, Any] | None:
    found = codes.redeem_token(db, keyring, purpose, token)
    return found and (found.user.username, found.data)


def by_code(db: Session, code: str, login: str = "admin", keyring: Keyring = KEYRING) -> tuple[str, Any] | None:
    found = codes.redeem_code(db, keyring, "test", login, code)
    return found and (found.user.username, found.data)


async def at_once(units: Iterable[Awaitable[T]]) -> list[T]:
    """What came of units that ran at once, but for those for which a busy machine had no time: they changed nothing."""
    results = await asyncio.gather(*units, return_exceptions=True)
    assert not [result for result in results if isinstance(result, BaseException) and not _no_time(result)]
    return [result for result in results if not isinstance(result, BaseException)]


def _no_time(error: BaseException) -> bool:
    return isinstance(error, DatabaseUnavailable)


def statements(db: Session, work: Callable[[], Any]) -> list[str]:
    """The statements of a piece of work."""
    seen: list[str] = []

    def note(*given: Any) -> None:
        seen.append(given[2])

    sa.event.listen(db.get_bind(), "before_cursor_execute", note)
    work()
    sa.event.remove(db.get_bind(), "before_cursor_execute", note)
    return seen


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.write(lambda db: insert_admin(db.connection()))
    yield database
    await database.close()


def on(url: str, work: Callable[[Database], Awaitable[None]]) -> None:
    """Run `work` on a database that has one user, `admin`."""

    async def run() -> None:
        async with opened(url) as database:
            await work(database)

    asyncio.run(run())


class TestRedeem:
    def test_of_forty_at_once_one_consumes_it(self, url: str) -> None:
        async def work(database: Database) -> None:
            for rule, form in ((by_token, 0), (by_code, 1)):
                issued = await database.write(issue, data="kept")
                answers = await at_once(database.write(rule, issued[form]) for _ in range(40))
                assert [answer for answer in answers if answer is not None] == [("admin", "kept")]

        on(url, work)

    def test_of_two_processes_at_once_one_consumes_it(self, url: str) -> None:
        async def work(database: Database) -> None:
            other = Database(url)
            for _ in range(10):
                issued = await database.write(issue)
                both = [(one, rule, form) for one in (database, other) for rule, form in ((by_token, 0), (by_code, 1))]
                answers = await at_once(one.write(rule, issued[form]) for one, rule, form in both)
                assert sum(answer is not None for answer in answers) == 1
            await other.close()

        on(url, work)

    def test_five_wrong_codes_end_it(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue)
            wrong = [await database.write(by_code, "BBBB-BBBB") for _ in range(5)]
            assert wrong == [None] * 5
            assert await database.write(by_code, issued.code) is None
            issued = await database.write(issue)
            for _ in range(4):
                await database.write(by_code, "BBBB-BBBB", "ADMIN@example.com")
            assert await database.write(by_code, issued.code) is not None

        on(url, work)

    def test_wrong_codes_of_nobody_end_nobody_elses(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue)
            for _ in range(6):
                assert await database.write(by_code, "BBBB-BBBB", "nobody") is None
            assert await database.write(by_code, issued.code) is not None

        on(url, work)

    def test_wrong_codes_at_once_are_all_counted(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue)
            assert len(await at_once(database.write(by_code, "BBBB-BBBB") for _ in range(20))) >= 5
            assert await database.write(by_code, issued.code) is None

        on(url, work)

    def test_newer_one_ends_the_older_of_its_purpose(self, url: str) -> None:
        async def work(database: Database) -> None:
            older = await database.write(issue)
            other = await database.write(issue, "other")
            newer = await database.write(issue)
            assert await database.write(by_token, older.token) is None
            assert await database.write(by_code, older.code) is None
            assert await database.write(by_token, other.token) is None  # of another purpose
            assert await database.write(by_token, other.token, "other") is not None
            assert await database.write(by_token, newer.token) is not None

        on(url, work)

    @pytest.mark.parametrize("changed", ["hashed_password", "email_key"])
    def test_new_password_or_address_ends_it_if_bound(self, url: str, changed: str) -> None:
        async def work(database: Database) -> None:
            for bound in (True, False):
                for rule, form in ((by_token, 0), (by_code, 1)):
                    issued = await database.write(issue, bound=bound)
                    new = sa.update(User).values({changed: f"{changed}{bound}{form}"})
                    await database.write(Session.execute, new)
                    assert (await database.write(rule, issued[form]) is None) == bound

        on(url, work)

    @ON_SQLITE
    def test_expired_one_is_none(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue)
            await database.write(lambda db: db.exec(sa.update(OneTimeCode).values(expires_at=now())))
            assert await database.read(codes.find, KEYRING, "test", issued.token) is None
            assert await database.write(by_token, issued.token) is None
            assert await database.write(by_code, issued.code) is None

        on(url, work)

    @ON_SQLITE
    def test_is_rolled_back_with_what_it_was_for(self, url: str) -> None:
        """A new password that is refused has not used up the code."""

        def refuse(db: Session, token: str) -> None:
            assert by_token(db, token)
            raise LookupError

        async def work(database: Database) -> None:
            issued = await database.write(issue)
            with pytest.raises(LookupError):
                await database.write(refuse, issued.token)
            assert await database.write(by_token, issued.token) is not None

        on(url, work)

    @ON_SQLITE
    def test_looking_consumes_nothing(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue, data="new@example.com")
            for _ in range(10):
                found = await database.read(codes.find, KEYRING, "test", issued.token)
                assert found == (1, "new@example.com")
            assert await database.read(codes.find, KEYRING, "other", issued.token) is None
            assert await database.write(by_token, issued.token) is not None

        on(url, work)

    @ON_SQLITE
    @pytest.mark.parametrize("typed", ["{0}", " {0} ", "lower", "{1}{2}", "{1} {2}", "{1}\u2013{2}"])
    def test_code_is_read_as_people_type_it(self, url: str, typed: str) -> None:
        async def work(database: Database) -> None:
            code = (await database.write(issue)).code
            text = code.lower() if typed == "lower" else typed.format(code, *code.split("-"))
            assert await database.write(by_code, text) is not None

        on(url, work)

    @ON_SQLITE
    @pytest.mark.parametrize("odd", ["", "\0", "\ud800", "x" * 60_000, "ß", "%", "é" * 43])
    def test_odd_token_code_or_login_is_none(self, url: str, odd: str) -> None:
        """S12."""

        async def work(database: Database) -> None:
            await database.write(issue)
            assert await database.write(by_token, odd) is None
            assert await database.write(by_code, odd) is None
            assert await database.write(by_code, "BBBB-BBBB", odd) is None
            assert await database.read(codes.find, KEYRING, "test", odd) is None

        on(url, work)


class TestNobody:
    def test_costs_the_same_statements_and_is_never_good(self, url: str) -> None:
        """S7: whoever asks for a code, or types one, learns nothing from what is done for it."""

        def compare(db: Session) -> None:
            user = db.exec(select(User)).one()
            known = statements(db, partial(codes.issue, db, KEYRING, "test", user, HALF_AN_HOUR))
            unknown = statements(db, partial(codes.issue, db, KEYRING, "test", None, HALF_AN_HOUR))
            assert len(known) == 2
            assert known == unknown
            db.exec(sa.delete(OneTimeCode).where(col(OneTimeCode.user_id).is_not(None)))
            known, unknown = (statements(db, partial(by_code, db, "BBBB-BBBB", who)) for who in ("admin", "nobody"))
            assert len(known) == 3
            assert known == unknown

        on(url, lambda database: database.write(compare))

    @ON_SQLITE
    def test_token_of_nobody_is_none(self, url: str) -> None:
        async def work(database: Database) -> None:
            issued = await database.write(issue, known=False)
            assert await database.read(codes.find, KEYRING, "test", issued.token) is None
            assert await database.write(by_token, issued.token) is None

        on(url, work)


@ON_SQLITE
class TestAtRest:
    def test_neither_token_nor_code_is_in_the_database(self, url: str) -> None:
        """S11: nor can a code of 35 bits be found from its digest, as long as the key is not there, too."""

        async def work(database: Database) -> None:
            issued = await database.write(issue)
            rows = await database.read(
                lambda connection: connection.execute(sa.text("SELECT * FROM one_time_codes")).all()
            )
            text = str(rows)
            for secret in (*issued, issued.code.replace("-", "")):
                assert secret not in text
            assert KEYRING.digests("code", "test", "1", issued.code.replace("-", ""))[0] in text
            assert await database.write(by_code, issued.code, keyring=Keyring(["another key" * 4])) is None

        on(url, work)

    def test_new_key_beside_the_old_takes_what_the_old_one_made(self, url: str) -> None:
        async def work(database: Database) -> None:
            both = Keyring(["a new key, which signs from now on", SECRET_KEY])
            for rule, form in ((by_token, 0), (by_code, 1)):
                issued = await database.write(issue)
                assert await database.write(rule, issued[form], keyring=both) is not None

        on(url, work)

    def test_letters_are_those_of_rfc_8628(self, url: str) -> None:
        async def work(database: Database) -> None:
            for _ in range(20):
                issued = await database.write(issue)
                left, dash, right = issued.code.partition("-")
                assert (len(left), dash, len(right)) == (4, "-", 4)
                assert set(left + right) <= set("BCDFGHJKLMNPQRSTVWXZ")
                assert len(issued.token) == 43

        on(url, work)
