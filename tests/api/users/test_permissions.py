"""Who may do what: every caller on every route about every user."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.answers import REFUSALS, assert_refused
from tests.support.client import Actor, Api
from tests.support.openapi import openapi, operations
from tests.support.people import MISSING, bearer

# Routes that need no token; every other one must be closed to strangers.
PUBLIC = {
    ("POST", "/token"),
    ("POST", "/revoke"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/password/forgot"),
    ("POST", "/password/reset"),
    ("POST", "/email/verify"),
    ("POST", "/email/undo"),
    ("POST", "/invitation/accept"),
}
BY_CLIENTS = {("POST", "/introspect")}  # other services, by credentials of their own
CLOSED = sorted(set(operations()) - PUBLIC - BY_CLIENTS)


@dataclass
class People:
    """Callers and targets: a user, another one, two admins, and one that is inactive but for its living session."""

    api: Api
    user: Actor
    other: Actor
    inactive: Actor

    def request(self, caller: str, method: str, path: str, **options: Any) -> Any:
        actor = {"user": self.user, "admin": self.api.admin, "inactive": self.inactive}.get(caller)
        if actor is None:
            return self.api.http.request(method, path, **options)
        return actor.request(method, path, **options)

    def id_of(self, caller: str, target: str) -> str:
        own = {"user": self.user, "admin": self.api.admin, "inactive": self.inactive}.get(caller, self.user)
        second_admin = self.api.sql("SELECT id FROM users WHERE username = 'second'")[0][0]
        targets = {"me": "me", "self": own.id, "other": self.other.id, "admin": second_admin, "missing": MISSING}
        return str(targets[target])

    def stored(self) -> list[Any]:
        users = self.api.sql("SELECT * FROM users ORDER BY id")
        return users + self.api.sql("SELECT * FROM login_sessions ORDER BY id")


@pytest.fixture
def people(api: Api) -> People:
    api.new_user("second", is_admin=True)
    people = People(api, api.new_actor("user"), api.new_actor("other"), api.new_actor("inactive"))
    # Past the API, which would end the session: being inactive must suffice.
    api.sql("UPDATE users SET is_active = false WHERE username = 'inactive'")
    return people


OUTCOMES: dict[str, dict[str, str | None]] = {
    "stranger": dict.fromkeys(["me", "self", "other", "admin", "missing"], "not_authenticated"),
    "inactive": dict.fromkeys(["me", "self", "other", "admin", "missing"], "session_ended"),
    "user": {
        "me": None,
        "self": None,
        **dict.fromkeys(["other", "admin", "missing"], "not_enough_permissions"),
    },
    "admin": {**dict.fromkeys(["me", "self", "other", "admin"]), "missing": "user_not_found"},
}


METHODS = {"GET": None, "PUT": {"age": 77}, "PATCH": {"age": 78}, "DELETE": None}


class TestMatrix:
    """S3."""

    @pytest.mark.parametrize("caller", OUTCOMES)
    def test_refused_routes_about_one_user_change_nothing(self, people: People, caller: str) -> None:
        """S3."""
        before = people.stored()
        for target, refusal in OUTCOMES[caller].items():
            for method, body in METHODS.items():
                if refusal is not None:
                    path = f"/users/{people.id_of(caller, target)}"
                    assert_refused(people.request(caller, method, path, json=body), refusal)
        assert people.stored() == before

    @pytest.mark.parametrize(
        ("caller", "target"),
        [(caller, target) for caller, row in OUTCOMES.items() for target, refusal in row.items() if refusal is None],
    )
    def test_allowed_routes_about_one_user(self, people: People, caller: str, target: str) -> None:
        """S3."""
        path = f"/users/{people.id_of(caller, target)}"
        for method, body in METHODS.items():
            before = people.stored()
            assert people.request(caller, method, path, json=body).status_code == 200
            assert (people.stored() == before) is (method == "GET")

    @pytest.mark.parametrize(
        ("caller", "refusal"),
        [
            ("stranger", "not_authenticated"),
            ("inactive", "session_ended"),
            ("user", "not_enough_permissions"),
            ("admin", None),
        ],
    )
    def test_routes_about_all_users(self, people: People, caller: str, refusal: str | None) -> None:
        before = people.stored()
        body = {"username": "new", "email": "new@example.com", "password": "Zk4m-Wq7x", "is_admin": True}
        answers = [people.request(caller, "GET", "/users"), people.request(caller, "POST", "/users", json=body)]
        if refusal is None:
            assert [answer.status_code for answer in answers] == [200, 201]
        else:
            for answer in answers:
                assert_refused(answer, refusal)
            assert people.stored() == before

    @pytest.mark.parametrize("body", [{"age": -1}, {"username": 5}, "no object"])
    def test_refusal_comes_before_what_the_body_says(self, people: People, body: Any) -> None:
        """What is wrong with a request is told to nobody who may not make it."""
        assert_refused(people.api.http.put("/users/me", json=body), "not_authenticated")
        assert_refused(people.user.put(people.other.path, json=body), "not_enough_permissions")
        assert_refused(people.user.post("/users", json=body), "not_enough_permissions")

    def test_every_route_but_the_public_ones_needs_a_token(self, people: People) -> None:
        """S3."""
        before = people.stored()
        for method, template in CLOSED:
            path = template.replace("{user_id}", str(people.user.id)).replace("{session_id}", "1")
            answer = people.api.http.request(method, path)
            assert answer.status_code == REFUSALS["not_authenticated"][0], (method, path)
            answer = people.api.http.request(method, path, headers=bearer(people.inactive.token))
            assert answer.status_code == REFUSALS["session_ended"][0], (method, path)
        assert people.stored() == before

    def test_document_says_which_routes_need_a_token(self) -> None:
        secured = [
            (method, path) for method, path in operations() if openapi()["paths"][path][method.lower()].get("security")
        ]
        assert sorted(set(secured) - BY_CLIENTS) == CLOSED


class TestPrivileges:
    """S4."""

    @pytest.mark.parametrize("path", ["/users/me", "own id"])
    @pytest.mark.parametrize("change", [{"is_admin": True}, {"is_active": False}])
    def test_user_cannot_change_them_even_beside_allowed_changes(
        self, people: People, path: str, change: dict[str, bool]
    ) -> None:
        before = people.stored()
        path = people.user.path if path == "own id" else path
        answer = people.user.put(path, json={"username": "renamed", **change})
        assert_refused(answer, "not_enough_permissions")
        assert people.stored() == before

    def test_demoted_admin_loses_its_rights_with_its_living_token(self, people: People) -> None:
        second = people.api.log_in("second")
        assert second.get("/users").status_code == 200
        assert people.api.admin.put(second.path, json={"is_admin": False}).status_code == 200
        assert_refused(second.get("/users"), "not_enough_permissions")
        assert_refused(second.get(people.user.path), "not_enough_permissions")
        assert second.get("/users/me").json()["is_admin"] is False

    def test_promoted_user_gains_its_rights_with_its_living_token(self, people: People) -> None:
        assert people.api.admin.put(people.user.path, json={"is_admin": True}).status_code == 200
        assert people.user.get("/users").status_code == 200
