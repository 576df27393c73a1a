"""How many statements the common requests cost."""

import asyncio
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa
from pydantic import SecretStr

from tests.support.insides import Settings, create_app
from tests.support.people import PASSWORD, bearer
from tests.support.processes import SECRET_KEY


async def count(url: str, requests: list[str], *, refreshed: bool = False) -> list[list[str]]:
    """The statements that each GET executes, made by the first admin; `{id}` is its own id, `{other}` another's.

    With `refreshed` its tokens are ones that were renewed, and not used yet.
    """
    settings = Settings(
        _env_file=None,
        database_url=url,
        secret_key=SecretStr(SECRET_KEY),
        first_admin_password=SecretStr(PASSWORD),
        bcrypt_rounds=4,
    )
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        token = await http.post("/token", data={"username": "admin", "password": PASSWORD})
        headers = bearer(token.json()["access_token"])
        ids = {"id": (await http.get("/users/me", headers=headers)).json()["id"]}
        body = {"username": "other", "email": "other@example.com", "password": PASSWORD}
        ids["other"] = (await http.post("/users", json=body, headers=headers)).json()["id"]
        if refreshed:
            form = {"grant_type": "refresh_token", "refresh_token": token.json()["refresh_token"]}
            headers = bearer((await http.post("/token", data=form)).json()["access_token"])
        executed: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            if "FROM outbox" not in statement:  # which is looked through now and then
                executed.append(statement)

        counted = []
        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            for path in requests:
                executed.clear()
                answer = await http.get(path.format(**ids), headers=headers)
                assert answer.status_code == 200
                counted.append(list(executed))
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        return counted


class TestStatements:
    def test_reading_costs_one_statement_and_one_more_for_another_user(self, url: str) -> None:
        own, by_id, other, listed = asyncio.run(count(url, ["/users/me", "/users/{id}", "/users/{other}", "/users"]))
        assert len(own) == 1, own
        assert len(by_id) == 1, by_id
        assert len(other) == 2, other
        assert len(listed) == 2, listed
        assert all(statement.startswith("SELECT") for statement in own + by_id + other + listed)

    def test_first_use_of_renewed_tokens_costs_one_write(self, url: str) -> None:
        """S27: at most one a rotation."""
        paths = ["/users/me", "/users/me", "/users"]
        first, second, listed = asyncio.run(count(url, paths, refreshed=True))
        assert sum(statement.startswith("UPDATE") for statement in first) == 1, first
        assert len(second) == 1, second
        assert len(listed) == 2, listed
