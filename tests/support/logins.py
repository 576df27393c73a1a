"""Login sessions as tests handle them: by their tokens, and by their rows."""

from datetime import timedelta
from typing import Any

import jwt
import sqlalchemy as sa
from sqlmodel import col

from tests.support.answers import assert_refused
from tests.support.client import Actor, Api
from tests.support.insides import LoginSession, now
from tests.support.people import bearer
from tests.support.processes import wait_until

Pair = dict[str, Any]  # the answer of POST /token


def refresh(api: Api, token: str, agent: str = "tests", **form: str) -> Any:
    body = {"grant_type": "refresh_token", "refresh_token": token, **form}
    return api.http.post("/token", data=body, headers={"User-Agent": agent})


def refreshed(api: Api, pair: Pair) -> Pair:
    answer = refresh(api, pair["refresh_token"])
    assert answer.status_code == 200, answer.text
    renewed: Pair = answer.json()
    return renewed


def use(api: Api, pair: Pair) -> None:
    """Make a request with the access token, and wait until its first use is noted, which may take longer."""
    assert api.http.get("/users/me", headers=bearer(pair["access_token"])).status_code == 200
    wait_until(lambda: _is_noted(api, pair))


def _is_noted(api: Api, pair: Pair) -> bool:
    found = row(api, pair)
    if found is None or claims_of(pair["access_token"])["gen"] != found.generation:
        return True  # it is not the newest token
    return found.used_generation == found.generation


def revoke(api: Api, token: str, **form: str) -> Any:
    return api.http.post("/revoke", data={"token": token, **form})


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def id_of(pair: Pair) -> int:
    session_id: int = claims_of(pair["refresh_token"])["sid"]
    return session_id


def change(api: Api, pair: Pair, **values: Any) -> None:
    """Change the row of a login session, past the service."""
    api.execute(sa.update(LoginSession).where(col(LoginSession.id) == id_of(pair)).values(**values))


def add_sessions(api: Api, user_id: int, count: int, days: int = 1) -> None:
    """Begin so many sessions of a user that end in so many days."""
    then = now()
    row = {"user_id": user_id, "generation": 1, "created_at": then, "rotated_at": then}
    api.execute(sa.insert(LoginSession), [row | {"expires_at": then + timedelta(days=days)}] * count)


def row(api: Api, pair: Pair) -> LoginSession | None:
    with api.server.engine.connect() as connection:
        found = connection.execute(sa.select(LoginSession.__table__).where(col(LoginSession.id) == id_of(pair)))  # type: ignore[attr-defined]  # a table model has a table
        values = found.mappings().one_or_none()
    return LoginSession(**values) if values else None


def alive(api: Api, pair: Pair) -> LoginSession:
    """The row of a session, which must be there, and whose access token must work."""
    found = row(api, pair)
    assert found is not None
    assert api.http.get("/users/me", headers=bearer(pair["access_token"])).status_code == 200
    return found


def assert_ended(api: Api, *pairs: Pair) -> None:
    for pair in pairs:
        assert row(api, pair) is None
        assert_refused(api.http.get("/users/me", headers=bearer(pair["access_token"])), "session_ended")
        assert_refused(refresh(api, pair["refresh_token"]), "invalid_grant")


def sessions_of(actor: Actor, path: str = "/users/me", **query: Any) -> list[dict[str, Any]]:
    answer = actor.get(f"{path}/sessions", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found
