"""A client of a running service, and the users it makes requests as."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa

from tests.support.openapi import assert_declared
from tests.support.people import ADMIN_PASSWORD, PASSWORD, bearer
from tests.support.schema import insert_admin
from tests.support.servers import Server


class Api:
    """A client of a running service whose database holds nothing but one admin."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kind = sa.make_url(server.url).get_backend_name()
        self.http = server.client(event_hooks={"response": [assert_declared]})
        self._clean()

    @cached_property
    def admin(self) -> "Actor":
        """The admin, logged in."""
        return self.log_in("admin", ADMIN_PASSWORD)

    def close(self) -> None:
        self.http.close()

    def _clean(self) -> None:
        with self.server.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM login_sessions"))
            connection.execute(sa.text("DELETE FROM users"))
            connection.execute(sa.text("DELETE FROM events"))
            insert_admin(connection)

    def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows of a query, beside the service."""
        with self.server.engine.begin() as connection:
            result = connection.execute(sa.text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    def execute(self, statement: sa.Executable, rows: Any = None) -> None:
        """Run a statement beside the service, with the types that the models give the values."""
        with self.server.engine.begin() as connection:
            connection.execute(statement, rows)

    def grant(self, username: str, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
        """The answer to a fresh login: a pair of tokens."""
        answer = self.http.post("/token", data={"username": username, "password": password}, headers=headers)
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def token(self, username: str, password: str = PASSWORD) -> str:
        """An access token of a fresh login."""
        token: str = self.grant(username, password)["access_token"]
        return token

    def log_in(self, username: str, password: str = PASSWORD) -> "Actor":
        """Whoever logs in with this name, to make requests as."""
        token = self.token(username, password)
        me = self.http.get("/users/me", headers=bearer(token))
        assert me.status_code == 200, me.text
        return Actor(self, me.json(), token)

    def new_user(self, username: str = "alice", **fields: Any) -> dict[str, Any]:
        """A user that the admin makes."""
        body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD, **fields}
        answer = self.admin.post("/users", json=body)
        assert answer.status_code == 201, answer.text
        user: dict[str, Any] = answer.json()
        return user

    def new_actor(self, username: str = "alice", **fields: Any) -> "Actor":
        """A new user, logged in."""
        user = self.new_user(username, **fields)
        return Actor(self, user, self.token(username, fields.get("password", PASSWORD)))


@dataclass
class Actor:
    """A logged-in user that makes requests."""

    api: Api
    user: dict[str, Any]
    token: str

    @property
    def id(self) -> int:
        user_id: int = self.user["id"]
        return user_id

    @property
    def path(self) -> str:
        return f"/users/{self.id}"

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        return self.api.http.request(method, path, headers={**bearer(self.token), **(headers or {})}, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)


@contextmanager
def client_of(server: Server) -> Iterator[Api]:
    """A client of a service, closed afterwards."""
    api = Api(server)
    yield api
    api.close()
