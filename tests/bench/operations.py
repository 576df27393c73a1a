"""What is measured: for every operation the service itself, the alternative, and the limits."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode

from tests.bench import limits
from tests.bench.load import Chain, Load, Request, Sample, measure
from tests.bench.servers import Server
from tests.bench.site import FORM, JSON, Site, ask, ids, log_in, login, names, path_halfway
from tests.support.people import PASSWORD, bearer

Measure = Callable[[int, float], Sample]  # of connections and seconds
TUTORIAL_CONNECTIONS = 5  # its pool; it opens and closes further ones for each request, and over 15 it can deadlock

OURS, TUTORIAL, CONSTANT, SQL, BCRYPT = "userapi", "tutorial", "constant", "SQL alone", "bcrypt alone"
TITLES = {
    "login": "POST /token",
    "login4": "POST /token, bcrypt cost 4",
    "refresh": "POST /token, refresh",
    "me": "GET /users/me",
    "read": "GET /users/{id} as admin",
    "list10": "GET /users, 10",
    "list100": "GET /users, 100",
    "deep": "GET /users, 100 halfway",
    "search": "GET /users?q=, 10",
    "create": "POST /users",
    "create4": "POST /users, bcrypt cost 4",
    "update": "PUT /users/{id}",
    "mixed": "GET /users/me during logins",
}
SLOW = {"login", "create", "mixed"}  # of the full bcrypt cost


def operations(site: Site, wrk: str | None, wanted: Sequence[str], most: int | None) -> dict[str, dict[str, Measure]]:
    """Give the measures of each operation that is wanted and that the service offers, by their subjects.

    `most` bounds the tutorial's connections.
    """
    filled = site.filled
    ours, theirs = requests_of(filled.users, site.cheap), requests_of(filled.users, site.tutorial)
    of_constant = {
        size: Load(site.constant, [Request("GET", path)])
        for size, path in {1: "/user", 10: "/users/10", 100: "/users/100"}.items()
    }
    measured = [name for name in TITLES if name in wanted and name in ours]
    recorded = asyncio.run(limits.record(filled.url, {name: ours[name] for name in measured if name not in SLOW}))
    found: dict[str, dict[str, Measure]] = {}
    for name in measured:
        cheap = name in {"login4", "create4", "refresh"}
        server, tutorial = (site.cheap, site.cheap_tutorial) if cheap else (site.ours, site.tutorial)
        slow = name in SLOW
        subjects = {OURS: Load(server, ours[name], slow=slow)}
        if name in theirs:
            subjects[TUTORIAL] = Load(tutorial, theirs[name], slow=slow)
        if name == "refresh":
            subjects[OURS] = refreshes(server, filled.users)
        for load in subjects.values():
            for request in load.requests[:1]:
                ask(load.server, request.varied(f"1st_{name}", 0))
        under: Callable[..., Sample] = partial(_during_logins, site) if name == "mixed" else measure
        measures: dict[str, Measure] = {subject: partial(under, load, wrk) for subject, load in subjects.items()}
        if most and TUTORIAL in measures:
            measures[TUTORIAL] = at_most(most, measures[TUTORIAL])
        if size := {"me": 1, "read": 1, "list10": 10, "list100": 100, "deep": 100, "search": 10}.get(name):
            measures[CONSTANT] = partial(measure, of_constant[size], wrk)
        if name in recorded:
            measures[SQL] = partial(_alone, filled.url, recorded[name])
        if name in {"login", "create"}:
            measures[BCRYPT] = partial(_bcrypt_alone, filled.hashed)
        found[name] = measures
    return found


def requests_of(users: int, server: Server) -> dict[str, list[Request]]:
    """The requests of each operation that the server offers; its tokens come from logins."""
    admin_login = log_in(server, "user0")
    admin = bearer(admin_login["access_token"])
    tokens = [log_in(server, name)["access_token"] for name in names(users, cheap=True)[:100]]
    new = {"username": "u{n}", "email": "u{n}@example.com", "password": PASSWORD}
    me = [Request("GET", "/users/me", bearer(token)) for token in tokens]
    halfway = path_halfway(users, server, admin_login["access_token"], 100)
    offered = {
        "login": [login(name) for name in names(users, cheap=False)],
        "login4": [login(name) for name in names(users, cheap=True)],
        "me": me,
        "read": [Request("GET", f"/users/{user_id}", admin) for user_id in ids(users)],
        "list10": [Request("GET", "/users?page_size=10", admin)],
        "list100": [Request("GET", "/users?page_size=100", admin)],
        "deep": [Request("GET", halfway, admin)],
        "create": [Request("POST", "/users", admin | JSON, json.dumps(new))],
        "create4": [Request("POST", "/users", admin | JSON, json.dumps(new))],
        "update": [Request("PUT", f"/users/{user_id}", admin | JSON, '{"age": {age}}') for user_id in ids(users)],
        "mixed": me,
    }
    if "refresh_token" in admin_login:
        offered["refresh"] = [_refresh(log_in(server, "user0")["refresh_token"]) for _ in range(2)]
    document = ask(server, Request("GET", "/openapi.json")).json()
    if any(parameter["name"] == "q" for parameter in document["paths"]["/users"]["get"].get("parameters", [])):
        searches = [f"/users?q=user{user_id}&page_size=10" for user_id in ids(users)]
        offered["search"] = [Request("GET", path, admin) for path in searches]
    return offered


def _refresh(refresh_token: str) -> Request:
    return Request("POST", "/token", FORM, urlencode({"grant_type": "refresh_token", "refresh_token": refresh_token}))


def refreshes(server: Server, users: int) -> Load:
    """Refreshes, each connection with a login of its own, each refresh with the token of the answer before."""
    logging_in = itertools.cycle(names(users, cheap=True))

    def chain() -> Chain:
        refresh_token = log_in(server, next(logging_in))["refresh_token"]
        while True:
            answer = yield _refresh(refresh_token)
            refresh_token = json.loads(answer).get("refresh_token", refresh_token)

    return Load(server, chain=chain)


def at_most(most: int, measure: Measure) -> Measure:
    """The measure with a bound on its connections."""
    return lambda connections, seconds: measure(min(connections, most), seconds)


def _during_logins(site: Site, load: Load, wrk: str | None, connections: int, seconds: float) -> Sample:
    logins = Load(load.server, [login(name) for name in names(site.filled.users, cheap=False)], slow=True)
    with ThreadPoolExecutor(1) as threads:
        flood = threads.submit(measure, logins, wrk, connections, seconds + 0.5)
        sample = measure(load, wrk, connections, seconds, alone=False)
        flooded = flood.result()
    return replace(sample, errors=sample.errors + flooded.errors, example=sample.example or flooded.example)


def _alone(url: str, statements: list[limits.Statement], _: int, seconds: float) -> Sample:
    return limits.sql_alone(url, statements, seconds)


def _bcrypt_alone(hashed: str, _: int, seconds: float) -> Sample:
    return limits.bcrypt_alone(hashed, seconds)
