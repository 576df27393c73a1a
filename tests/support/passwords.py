"""New passwords: who sets one, and how it is refused."""

from typing import Any

from tests.support.client import Api
from tests.support.people import PASSWORD

# Who sets the password of the user alice, and how.
WAYS = ["create", "register", "PUT", "PATCH", "own PUT", "own PATCH"]
ALICE = {"username": "alice", "email": "alicia.w@example.com"}


def set_password(api: Api, way: str, password: str, **names: str) -> Any:
    """Try to give alice a password; whoever she is, she exists already where she must."""
    alice = ALICE | names
    if way in {"create", "register"}:
        path = "/users" if way == "create" else "/register"
        return api.admin.post(path, json={**alice, "password": password})
    actor = api.new_actor(**alice)
    own, _, method = way.rpartition(" ")
    body = {"password": password} | ({"current_password": PASSWORD} if own else {})
    return (actor if own else api.admin).request(method, actor.path, json=body)


def assert_guessable(answer: Any, code: str, password: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, code), answer.text
    (violation,) = body["detail"]
    assert violation.keys() == {"loc", "msg", "type"}
    assert (violation["loc"], violation["type"]) == (["body", "password"], code)
    assert password.casefold() not in answer.text.casefold()
