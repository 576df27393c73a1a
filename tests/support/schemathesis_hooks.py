"""Loaded by the Schemathesis process: whom it calls as, what it sends, and which answers are no failures."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import httpx2 as httpx
import schemathesis
import sqlalchemy as sa
from schemathesis import AuthContext, Case, HookContext, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData, UseAfterFree

from tests.support.databases import sync_engine
from tests.support.people import PASSWORD, bearer

AnyCase = Case[Any]

ROLE = os.environ["ROLE"]
AS_ADMIN = ROLE == "admin"
http = httpx.Client(base_url=os.environ["BASE_URL"], timeout=30)
engine = sync_engine(os.environ["DATABASE_URL"])

# Schema-valid requests are refused, rightly, because of the state they meet (the contract says 400, not 409)...
STATES = {
    "username_taken",
    "email_taken",
    "current_password_required",
    "current_password_incorrect",
    "last_admin",
    "precondition_failed",
    "invalid_code",
}
# ... or by rules between fields, or within one, that JSON Schema cannot say.
GUESSABLE = {"password_too_common", "password_too_weak", "password_contains_username", "password_contains_email"}
RULES = {
    "password_composition",
    "password_too_long",
    "pages_exclude_each_other",
    "page_out_of_reach",
    "cursor_invalid",
    "proof_incomplete",
    "password_unwanted",
}
PATH_RULES = {"less_than_equal", "literal_error"}  # an id in a path, whose pattern bounds its digits only
# ... or accepted though not of the type, since they read as one.
_TRUTH = re.compile(r'[01](\.0)?|"(0|1|t|f|true|false|y|n|yes|no|on|off)"')
LENIENT = {
    **dict.fromkeys(("is_admin", "is_active", "refresh_in_cookie", "send_invitation", "email_verified"), _TRUTH),
    "age": re.compile(r'" *[+]?[0-9_]+(\.0+)? *"'),
}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Schemathesis leaves `oauth2` schemes out of `ignored_auth`; on the wire ours is a bearer token like any other."""
    schemes = raw_schema["components"]["securitySchemes"]
    schemes["login"] = schemes["OAuth2PasswordBearer"]  # keeps `tokenUrl` known
    for item in raw_schema["paths"].values():
        for operation in item.values():
            operation["security"] = [each for each in operation["security"] if "OAuth2PasswordBearer" not in each]


numbers = count(1)
# A client that may ask about tokens.
CLIENT, SECRET = "schemathesis", "not-so-secret"
BASIC = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
with engine.begin() as connection:
    row = {"name": CLIENT, "secret_digest": hashlib.sha256(SECRET.encode()).hexdigest(), "at": "2026-01-01 00:00:00"}
    connection.execute(sa.text("INSERT INTO oauth_clients VALUES (:name, :secret_digest, :at)"), row)


class Account:
    """An account to call as."""

    changes = 0  # calls that may have changed any account

    def __init__(self, user: dict[str, Any], password: str) -> None:
        self.id, self.username, self.password = user["id"], user["username"], password
        self.token: str = self.log_in().get("access_token", "")
        self.alive, self.seen_after = False, -1

    @classmethod
    def fresh(cls) -> "Account":
        name = f"{ROLE}_{next(numbers)}"
        made = http.post("/register", json={"username": name, "email": f"{name}@example.com", "password": PASSWORD})
        assert made.status_code == 201, made.text
        if AS_ADMIN:
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE users SET is_admin = true WHERE username = :name"), {"name": name})
        return cls(made.json(), PASSWORD)

    def log_in(self) -> dict[str, Any]:
        """The tokens of a new session; none if the account is gone, or has another name or password by now."""
        answer = http.post("/token", data={"username": self.username, "password": self.password})
        tokens: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return tokens

    def lives(self) -> bool:
        """Whether it can still be called as, with the rights of the role."""
        if self.seen_after != Account.changes:
            answer = http.get("/users/me", headers=bearer(self.token))
            self.alive = answer.status_code == 200 and (answer.json()["is_admin"] or not AS_ADMIN)
            self.seen_after = Account.changes
        return self.alive


@schemathesis.auth(refresh_interval=None)
class Caller:
    """Calls as a user that Schemathesis registered, for its own routes; else as an account that is replaced once gone.

    So deleting oneself, demoting oneself, ending one's session or changing one's password spoils no later call.
    """

    own: ClassVar[Account] = Account.fresh()
    current: ClassVar[Account] = own
    registered: ClassVar[dict[str, Account]] = {}  # by id

    def get(self, case: AnyCase, _: AuthContext) -> str:
        target = self.registered.get(str((case.path_parameters or {}).get("user_id")))
        if target is not None and not AS_ADMIN and target.lives():
            Caller.current = target
        else:
            if not Caller.own.lives():
                Caller.own = Account.fresh()
            Caller.current = Caller.own
        return Caller.current.token

    def set(self, case: AnyCase, data: str, _: AuthContext) -> None:
        case.headers["Authorization"] = BASIC if case.path == "/introspect" else f"Bearer {data}"


# Fields whose valid values are made to fit, and how.
FITTING: dict[str, tuple[re.Pattern[str], Callable[[str], str]]] = {
    "username": (re.compile(r"[a-zA-Z0-9_]{3,20}"), lambda value: f"{value[:13]}_{next(numbers)}"),
    "email": (
        re.compile(r"[^@\s]+@[^@\s]+\.[a-z]+"),
        lambda value: f"{next(numbers)}{re.sub('(test|example)$', 'com', value)}",
    ),
    "password": (re.compile(r"[^\0]{8,72}"), lambda value: f"aB3{value[3:]}"),
    "current_password": (re.compile(r"(?s:.*)"), lambda _: Caller.current.password),
    "token": (re.compile(r"(?s:.+)"), lambda _: Caller.current.log_in()["access_token"]),
}
GRANTS: dict[str, Callable[[], str]] = {
    "username": lambda: Caller.current.username,
    "password": lambda: Caller.current.password,
    "refresh_token": lambda: Caller.current.log_in()["refresh_token"],
}


@schemathesis.hook
def before_call(context: HookContext, case: AnyCase, kwargs: dict[str, Any]) -> None:
    """Give valid fields what a schema cannot ask for: real secrets, strong passwords, names not taken as yet.

    Also in invalid requests, lest they are refused for a reason that is not the one tried.
    """
    body: dict[str, Any] = case.body if isinstance(case.body, dict) else {}
    for name, value in body.items():
        if case.path == "/token" and name in GRANTS and value:
            body[name] = GRANTS[name]()
        elif name in FITTING and isinstance(value, str) and FITTING[name][0].fullmatch(value):
            body[name] = FITTING[name][1](value)
    if "session_id" in case.path_parameters and case.meta and case.meta.generation.mode.is_positive:
        _name_a_session(case)
    if case.path == "/token":
        case.headers["Sec-Fetch-Site"] = "same-origin"  # as a page's own request, which may ask for a cookie
    if "if-match" in case.headers and "Authorization" in case.headers:
        user = http.get(case.formatted_path, headers={"Authorization": case.headers["Authorization"]})
        case.headers["if-match"] = user.headers.get("ETag", "*")
    if case.path == "/users" and "after" in case.query and case.meta and case.meta.generation.mode.is_positive:
        case.query.pop("page", None)
        case.query.pop("before", None)
        kept = {name: value for name, value in case.query.items() if name != "after" and value is not None}
        first = http.get("/users", params=kept | {"page_size": 1}, headers=bearer(Caller.own.token))
        if following := first.links.get("next"):
            case.query["after"] = httpx.URL(following["url"]).params["after"]


def _name_a_session(case: AnyCase) -> None:
    """Name a session of the caller that nobody else uses."""
    sessions = http.get("/users/me/sessions", headers=bearer(Caller.current.log_in().get("access_token", "")))
    mine: list[dict[str, Any]] = sessions.json() if sessions.status_code == 200 else []
    for session in mine:
        if session["current"]:
            case.path_parameters.update(user_id="me", session_id=session["id"])


@schemathesis.hook
def after_call(context: HookContext, case: AnyCase, response: Response) -> None:
    """Remember who was registered, and what the caller is called now."""
    body: Any = case.body
    if case.path == "/register" and response.status_code == 201:
        account = Account(response.json(), body["password"])
        Caller.registered[str(account.id)] = account
    if case.method in {"PUT", "PATCH", "DELETE"} and response.status_code < 300:
        Account.changes += 1
    if case.method in {"PUT", "PATCH"} and response.status_code == 200:
        user = response.json()
        if user["id"] == Caller.current.id:
            Caller.current.username = user["username"]
            Caller.current.password = body.get("password") or Caller.current.password


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: AnyCase, response: Response) -> bool:
    """Whether a failure is one."""
    if isinstance(failure, UseAfterFree):
        # A list that was emptied is still a list, and `me` is the account that came after the deleted one.
        return re.fullmatch(r"DELETE /users/(me|\w+/sessions)", failure.free) is None
    if isinstance(failure, EnsureResourceAvailability):
        return not case.path.endswith("/invitation")  # which no new user has unless that was asked for
    if isinstance(failure, AcceptedNegativeData):
        # The contract reads JSON as leniently as the tutorial did: clients may send what an HTML form gave them.
        body: dict[str, Any] = case.body if isinstance(case.body, dict) else {}
        if any(re.fullmatch(r"(-?[0-9.]+)?", str(case.query.get(name))) for name in ("since", "until")):
            return False  # a number is an instant, too: seconds since 1970; and what a form leaves empty is none
        return not any(LENIENT[name].fullmatch(json.dumps(body.get(name)).lower()) for name in LENIENT)
    if isinstance(failure, RejectedPositiveData):
        answer = response.json()
        if answer["code"] in STATES | GUESSABLE:
            return False
        return (
            answer["code"] != "validation_error"
            or not all(
                rule["type"] in (PATH_RULES if rule["loc"][0] == "path" else RULES)
                or (
                    case.path == "/users" and rule["loc"] == ["body", "password"]
                )  # required unless somebody is invited
                or rule["loc"][1:] in (["since"], ["until"])  # instants before 1970: no schema bounds them
                for rule in answer["detail"]
            )
        )
    return True
