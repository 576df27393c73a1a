"""Database URLs as people type them: the service runs on each, whatever driver is named."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.databases import new_database
from tests.support.people import ADMIN_PASSWORD, bearer
from tests.support.servers import serving

FIRST_ADMIN = {"FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD, "MIGRATE_ON_START": "true"}
SERVER_FORMS = [
    ("postgresql", "postgresql", ""),
    ("postgresql", "postgres", ""),
    ("postgresql", "postgresql+psycopg2", "application_name=userapi_urls&connect_timeout=3"),
    ("postgresql", "postgresql+psycopg", "options=-c%20search_path%3Dpublic"),
    ("postgresql", "postgresql+asyncpg", ""),
    ("mysql", "mysql", ""),
    ("mysql", "mysql+pymysql", "charset=utf8mb4"),
    ("mysql", "mysql+aiomysql", "connect_timeout=3"),
    ("mysql", "mariadb", ""),
    ("mysql", "mariadb+pymysql", "charset=utf8mb4"),
]


def assert_works(url: str, cwd: Path) -> None:
    """Check that the service runs on this URL: a login, a write and a read with a name in any script."""
    with serving(url, cwd=cwd, **FIRST_ADMIN) as server, server.client() as http:
        token = http.post("/token", data={"username": "admin", "password": ADMIN_PASSWORD}).json()["access_token"]
        body = {"username": "alice", "email": "älice@example.com", "password": "Zk4m-Wq7x"}
        made = http.post("/users", json=body, headers=bearer(token))
        assert made.status_code == 201, made.text
        assert http.get(f"/users/{made.json()['id']}", headers=bearer(token)).json() == made.json()
        assert http.get("/health/ready").status_code == 200


class TestSqlite:
    @pytest.mark.parametrize(
        ("url", "file"),
        [
            ("sqlite://", None),
            ("sqlite:///:memory:", None),
            ("sqlite:///users.db", "users.db"),
            ("sqlite+aiosqlite:///./users.db?timeout=2", "users.db"),
            ("sqlite+pysqlite:///./my%20users.db", "my users.db"),
            ("sqlite:///file:users.db?mode=rwc&uri=true", "users.db"),
        ],
    )
    def test_service_runs_on_it(self, tmp_path: Path, url: str, file: str | None) -> None:
        assert_works(url, tmp_path)
        databases = [path.name for path in tmp_path.iterdir() if "-" not in path.name]
        assert databases == ([] if file is None else [file])

    def test_absolute_path(self, tmp_path: Path) -> None:
        assert_works(f"sqlite:///{tmp_path}/users.db", Path("/"))
        assert (tmp_path / "users.db").exists()


class TestServers:
    @pytest.mark.parametrize(("kind", "scheme", "options"), SERVER_FORMS, indirect=["kind"])
    def test_service_runs_on_it(self, kind: str, tmp_path: Path, scheme: str, options: str) -> None:
        with new_database(kind) as url:
            typed = f"{scheme}://{url.partition('://')[2]}" + (f"?{options}" if options else "")
            assert_works(typed, tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
    def test_options_reach_postgresql(self, url: str, tmp_path: Path) -> None:
        typed = f"{url}?application_name=userapi_urls&options=-c%20work_mem%3D5MB"
        with serving(typed, cwd=tmp_path, **FIRST_ADMIN) as server:
            with server.client() as http:  # which leaves a connection in the pool
                assert http.get("/health/ready").status_code == 200
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'userapi_urls'"
            with server.engine.connect() as connection:
                assert connection.scalar(sa.text(query)) > 0
