"""What an attack works with: services to attack, people who have accounts there, addresses to come from."""

import itertools
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx

from tests.support.databases import new_database
from tests.support.people import bearer
from tests.support.processes import children
from tests.support.servers import Server, launched

_STARTING = threading.Lock()  # the ports are given out one at a time
_strangers = itertools.count(1)


class Verdict(NamedTuple):
    """Whether something held; None for what could not be tried."""

    item: int | str
    held: bool | None
    words: str

    def __str__(self) -> str:
        return f"{ {True: 'PASS', False: 'FAIL', None: 'SKIP'}[self.held] }  {self.item:>2}  {self.words}"


class Person(NamedTuple):
    """Somebody with an account."""

    id: int
    username: str
    email: str
    password: str


@dataclass
class Target:
    """A service under attack. It believes `X-Forwarded-For`, so attackers come from anywhere."""

    base_url: str
    admin: Person
    server: Server | None = None
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.base_url, timeout=60, verify=False)

    @property
    def place(self) -> tuple[str, int]:
        url = httpx.URL(self.base_url)
        return url.host, url.port or 80

    def ask(self, method: str, path: str, token: str | None = None, /, **options: Any) -> httpx.Response:
        """Send a request; `address` and `agent` say where it comes from, other options are those of httpx."""
        headers = {"User-Agent": options.pop("agent", "attack"), **options.pop("headers", {})}
        if address := options.pop("address", None):
            headers["X-Forwarded-For"] = address
        self.http.cookies.clear()
        return self.http.request(method, path, headers=headers | (bearer(token) if token else {}), **options)

    def log_in(self, person: Person, /, **options: Any) -> httpx.Response:
        """Try to log in; `username` and `password` may differ from the person's."""
        form = {name: options.pop(name, getattr(person, name)) for name in ("username", "password")}
        return self.ask("POST", "/token", data=form, **options)

    def grant(self, person: Person, /, **options: Any) -> dict[str, str]:
        """Log in; give the pair of tokens."""
        answer = self.log_in(person, **options)
        assert answer.status_code == 200, f"login answered {answer.status_code} {answer.text}"
        pair: dict[str, str] = answer.json()
        return pair

    def refresh(self, token: str, /, **options: Any) -> httpx.Response:
        return self.ask("POST", "/token", data={"grant_type": "refresh_token", "refresh_token": token}, **options)

    def new_user(self, **fields: Any) -> Person:
        """Make somebody, as the admin."""
        name = f"atk_{secrets.token_hex(6)}"
        body = {"username": name, "email": f"{name}@example.com", "password": new_password(), **fields}
        answer = self.ask("POST", "/users", self.grant(self.admin)["access_token"], json=body)
        assert answer.status_code == 201, f"creating a user answered {answer.status_code} {answer.text}"
        self.made.append(answer.json()["id"])
        return Person(answer.json()["id"], body["username"], body["email"], body["password"])

    def close(self) -> None:
        """Remove from somebody else's service what was made there."""
        if self.server is None:
            with suppress(httpx.HTTPError, AssertionError):
                token = self.grant(self.admin)["access_token"]
                for user_id in self.made:
                    self.ask("DELETE", f"/users/{user_id}", token)
        self.http.close()


@dataclass(frozen=True)
class Arena:
    """Where an attack gets services: its own, or the one whose URL was named."""

    quick: bool = False
    names: int = 30_000  # that a flood of names has
    running: tuple[str, Person] | None = None

    @property
    def private(self) -> bool:
        return self.running is None

    @contextmanager
    def target(self, **settings: Any) -> Iterator[Target]:
        """A service to attack: a new one with these settings on SQLite, or the running one as it is."""
        if self.running is None:
            with new_database("sqlite") as url, self.service(url, settings=settings) as target:
                yield target
            return
        target = Target(*self.running)
        try:
            yield target
        finally:
            target.close()

    @contextmanager
    def service(
        self,
        url: str,
        command: tuple[str, ...] = ("userapi", "serve"),
        admin: Person | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Iterator[Target]:
        """A service of one's own on this database, whose `admin` is there already or made."""
        admin = admin or Person(1, "admin", "admin@example.com", new_password())
        usual = {"FIRST_ADMIN_PASSWORD": admin.password, "FORWARDED_ALLOW_IPS": "127.0.0.1"}
        with _STARTING:
            context = launched(
                url, command=command, cwd=Path(url.removeprefix("sqlite:///")).parent, **usual | dict(settings or {})
            )
            server = context.__enter__()
        try:
            target = Target(server.wait().base_url, admin, server)
            try:
                yield target
            finally:
                target.close()
        finally:
            context.__exit__(None, None, None)


def new_password() -> str:
    """Return a password that any sensible rule lets pass."""
    return f"Aa1-{secrets.token_hex(8)}"


def stranger() -> str:
    """Return an address that nobody came from yet, of those that are set apart for measurements."""
    number = next(_strangers)
    return f"198.{18 + number // 62_500 % 2}.{number // 250 % 250}.{1 + number % 250}"


def resident_mib(pid: int) -> float:
    """Return how much memory a process and those that it started have."""
    pages = [int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in (pid, *children(pid))]
    return sum(pages) * 4096 / 2**20


def code_of(answer: httpx.Response) -> str:
    """Return the error that an answer tells, or its status."""
    try:
        body: Mapping[str, Any] = answer.json()
        return str(body.get("code", answer.status_code))
    except (ValueError, AttributeError):
        return str(answer.status_code)
