"""Health: whether the process lives, and whether it can serve."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api


class TestLive:
    def test_answers_anybody(self, api: Api) -> None:
        answer = api.http.get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.usefixtures("other_revision")
    def test_answers_whatever_the_schema(self, api: Api) -> None:
        assert api.http.get("/health/live").status_code == 200


class TestReady:
    def test_answers_anybody(self, api: Api) -> None:
        answer = api.http.get("/health/ready")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    @pytest.mark.usefixtures("other_revision")
    def test_schema_of_another_version_is_not_ready(self, api: Api) -> None:
        answer = api.http.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json() == {"detail": "Not ready: schema", "code": "not_ready"}


@pytest.fixture
def other_revision(api: Api) -> Iterator[None]:
    [(head,)] = api.sql("SELECT version_num FROM alembic_version")
    api.sql("UPDATE alembic_version SET version_num = '0000'")
    yield
    api.sql("UPDATE alembic_version SET version_num = :head", head=head)
    assert api.http.get("/health/ready").status_code == 200
