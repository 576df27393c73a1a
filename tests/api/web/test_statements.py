"""How many statements the common requests cost."""

import asyncio
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa
from pydantic import SecretStr

from tests.support.insides import Settings, create_app
from tests.support.people import PASSWORD, bearer
from tests.support.processes import SECRET_KEY


async def count(url: str, requests: list[str]) -> list[list[str]]:
    """The statements that each GET executes, made by the first admin; `{id}` is its own id, `{other}` another's."""
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
        executed: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
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
