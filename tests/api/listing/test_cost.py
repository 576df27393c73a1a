"""What a list costs does not depend on how many users there are: counted as the database counts its own work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.bench.site import fill
from tests.support.databases import new_database, sync_engine
from tests.support.insides import ListQuery, Page, User, find_page, finding
from tests.support.schema import migrate
from tests.support.statements import instructions

MANY = 20_000
SORTS = [None, "id", "-id", "username", "-username", "email", "-email", "created_at", "-created_at"]


def work_of(connection: sa.Connection, query: ListQuery) -> int:
    """Rows that a server read for a page, of tables and indices, or instructions that SQLite executed."""
    if connection.dialect.name == "sqlite":
        return instructions(connection, lambda: find_page(connection, query))
    before = rows_read(connection)
    find_page(connection, query)
    return rows_read(connection) - before


def rows_read(connection: sa.Connection) -> int:
    if connection.dialect.name == "postgresql":
        tables = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables"
        indices = "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0) FROM pg_stat_user_indexes"
        return int(connection.exec_driver_sql(f"SELECT ({tables}) + ({indices})").scalar_one())
    counters = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    return sum(int(value) for _, value in counters)


def ids(page: Page) -> list[int]:
    return [user.id for user in page.users]


@contextmanager
def filled(kind: str) -> Iterator[sa.Engine]:
    """A database with many users, all of one instant, as an import leaves them."""
    with new_database(kind) as url:
        migrate(url)
        engine = sync_engine(url)
        fill(engine, MANY, "", "")
        if kind == "mysql":
            with engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE TABLE users")  # or it takes the table for an empty one
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def engine(kind: str) -> Iterator[sa.Engine]:
    with filled(kind) as engine:
        yield engine


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to it; what a test changes is rolled back."""
    with engine.connect() as connection:
        yield connection


class TestCost:
    def test_does_not_grow_with_depth(self, connection: sa.Connection) -> None:
        """A page by cursor costs about what the first one does, also among users of one instant."""
        for sort, q in [(sort, None) for sort in SORTS] + [(None, "user")]:
            far = ListQuery(q=q, sort=sort, page_size=100, page=MANY // 100 - 3)
            cursor = find_page(connection, far).next
            first = work_of(connection, ListQuery(q=q, sort=sort, page_size=100))
            deep = work_of(connection, ListQuery(q=q, sort=sort, page_size=100, after=cursor))
            back = work_of(connection, ListQuery(q=q, sort=sort, page_size=100, before=cursor))
            assert 0 < deep <= 1.6 * first, (sort, q, first, deep)
            assert 0 < back <= 1.6 * first, (sort, q, first, back)

    @pytest.mark.parametrize("q", ["user1234", "user19999", "nobody"])
    @pytest.mark.parametrize("sort", [None, "-created_at"])
    def test_of_a_search_does_not_grow_with_users_that_do_not_match(
        self, connection: sa.Connection, q: str, sort: str | None
    ) -> None:
        """A prefix of few users costs at most 1.5 times what it costs when there are no others."""
        costs = []
        for others in (True, False):
            if not others:
                connection.execute(sa.delete(User).where(~sa.inspect(User).c.username_key.startswith(q)))
            costs.append(work_of(connection, ListQuery(q=q, sort=sort)))
        assert 0 < costs[0] <= 1.5 * costs[1] + 20, costs

    def test_of_a_search_does_not_grow_with_the_users_that_match(self, connection: sa.Connection) -> None:
        """In its own order, a prefix of all users costs little more than one of few."""
        few, all_ = (work_of(connection, ListQuery(q=q)) for q in ("user1234", "u"))
        assert 0 < all_ <= 1.5 * few + 20


FILTERS: list[dict[str, Any]] = [
    {"is_active": True},
    {"is_active": False},
    {"is_admin": True},
    {"is_admin": False},
    {"is_active": True, "is_admin": True},
    {"is_active": False, "is_admin": True},
    {"is_active": True, "is_admin": False},
]


@pytest.fixture(scope="module")
def mixed(kind: str) -> Iterator[sa.Engine]:
    """Of all users one of 500 is inactive, one of 2,000 an admin, the first of them inactive, too."""
    id_ = sa.inspect(User).c.id
    with filled(kind) as engine:
        with engine.begin() as connection:
            connection.execute(sa.update(User).values(is_active=id_ % 500 != 1, is_admin=id_ % 2000 == 1))
            connection.execute(sa.update(User).where(id_ == 2001).values(is_active=True))
        if kind == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE users")  # or it comes by itself, at any time
        yield engine


@pytest.fixture(scope="module")
def people(mixed: sa.Engine) -> list[dict[str, Any]]:
    columns = sa.inspect(User).c
    names = ["id", "username", "email", "created_at", "is_active", "is_admin"]
    with mixed.connect() as connection:
        found = connection.execute(sa.select(*(columns[name] for name in names)).order_by(columns.id)).mappings()
        return [dict(person) for person in found]


class TestFilters:
    """A value that nearly all users have, and one that nearly none has: no database is to read or sort them all."""

    @pytest.mark.parametrize("q", [None, "user123", "u"])
    def test_cost_what_a_page_costs(
        self, mixed: sa.Engine, people: list[dict[str, Any]], q: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Hardly a row, or an instruction, for each of the users, of whom 1 in 200 is shown."""
        monkeypatch.setattr(finding, "FEW", 300)
        with mixed.connect() as connection:
            for sort in SORTS:
                for given in FILTERS:
                    query = ListQuery(q=q, sort=sort, page_size=100, **given)
                    shown = [person for person in people if given.items() <= person.items()]
                    if q:
                        shown = [person for person in shown if person["username"].startswith(q)]
                    order = (sort or ("username" if q else "id")).removeprefix("-")
                    shown = sorted(shown, key=lambda person: (person[order], person["id"]))
                    shown = shown[::-1] if (sort or "").startswith("-") else shown
                    first = find_page(connection, query)
                    assert ids(first) == [person["id"] for person in shown[:100]], query
                    assert (first.next is None) == (len(shown) <= 100)
                    if first.next is not None:
                        following = query.model_copy(update={"after": first.next})
                        second = find_page(connection, following)
                        assert ids(second) == [person["id"] for person in shown[100:200]], query
                    assert 0 < work_of(connection, query) < 1.1 * MANY, query


class TestManyMatches:
    """A search that finds more users than are worth sorting goes through the order instead."""

    def test_comes_in_the_order_asked_for_and_is_counted(self, connection: sa.Connection) -> None:
        query = ListQuery(q="USER", sort="-created_at", total=True, page_size=3)
        page = find_page(connection, query)
        assert ids(page) == [MANY, MANY - 1, MANY - 2]
        assert page.total == MANY
        following = find_page(connection, query.model_copy(update={"after": page.next, "total": False}))
        assert ids(following) == [MANY - 3, MANY - 4, MANY - 5]
        assert find_page(connection, ListQuery(q="user1", sort="id", total=True)).total == 11_111

    def test_is_counted_in_its_own_order_too(self, connection: sa.Connection) -> None:
        assert find_page(connection, ListQuery(q="u", total=True)).total == MANY
        assert find_page(connection, ListQuery(q="u", total=True, is_admin=True)).total == 1

    def test_loses_nobody_though_users_vanish_between_its_statements(self, connection: sa.Connection) -> None:
        columns, gone, address = sa.inspect(User).c, ["user0", "user1", "user10"], "user10006@"
        # An address that only comes into reach once names before it are gone.
        last = sa.update(User).where(columns.id == MANY)
        connection.execute(last.values(username_key="zed", email_key=address))
        vanished = False

        def vanish(*_: Any) -> None:
            nonlocal vanished
            if not vanished:
                vanished = True
                connection.execute(sa.delete(User).where(columns.username_key.in_(gone)))

        sa.event.listen(connection, "after_cursor_execute", vanish)
        query, found = ListQuery(q="user"), []
        for _ in range(3):
            page = find_page(connection, query)
            assert page.next
            found += [address if user_id == MANY else f"user{user_id - 1}" for user_id in ids(page)]
            query = query.model_copy(update={"after": page.next})
        kept = {address, *(f"user{number}" for number in range(MANY - 1))} - {*gone}
        assert address in found
        assert found == sorted(kept)[: len(found)]
