"""Services that send mails, with addresses verified or not, and what came by mail."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import httpx2 as httpx
import pytest

from tests.mail.conftest import postbox
from tests.support.client import Actor, Api, client_of
from tests.support.mail import MailServer, code_in, text_of
from tests.support.people import PASSWORD
from tests.support.processes import wait_until
from tests.support.servers import Shared

__all__ = ["postbox"]


@dataclass
class Accounts:
    """A client of a service, and the mailboxes of its users."""

    api: Api
    postbox: MailServer

    @property
    def http(self) -> httpx.Client:
        return self.api.http

    def register(self, username: str, email: str = "", **fields: Any) -> httpx.Response:
        body = {"username": username, "email": email or f"{username}@example.com", "password": PASSWORD, **fields}
        return self.http.post("/register", json=body)

    def verified(self, username: str, **fields: Any) -> dict[str, Any]:
        """A user whose address an admin vouches for."""
        return self.api.new_user(username, email_verified=True, **fields)

    def mails(self, recipient: str, page: str, count: int = 1) -> list[EmailMessage]:
        """The mails to an address whose link leads to a page, once there are so many."""

        def found() -> list[EmailMessage]:
            return [
                mail for mail in self.postbox.mails if mail["To"] == recipient and f"/account/{page}" in text_of(mail)
            ]

        wait_until(lambda: len(found()) >= count)
        return found()

    def token(self, recipient: str, page: str, count: int = 1) -> str:
        """The token in the newest of these mails."""
        return token_in(self.mails(recipient, page, count)[-1], page)

    def code(self, recipient: str, page: str, count: int = 1) -> str:
        return code_in(self.mails(recipient, page, count)[-1])

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def login(self, login: str, password: str = PASSWORD) -> httpx.Response:
        return self.http.post("/token", data={"username": login, "password": password})

    def me(self, actor: Actor) -> dict[str, Any]:
        found: dict[str, Any] = actor.get("/users/me").json()
        return found


def token_in(mail: EmailMessage, page: str) -> str:
    [token] = re.findall(rf"/account/{page}\?token=([\w.-]+)", text_of(mail))
    return str(token)


@pytest.fixture
def name() -> str:
    """A name that no other test has used: tests share the mail server."""
    return f"u{secrets.token_hex(6)}"


@pytest.fixture
def accounts_of(shared: Shared, kind: str, postbox: MailServer) -> Iterator[Callable[[str], Accounts]]:
    """A service with addresses verified as is said."""
    opened: list[Api] = []

    def make(verification: str) -> Accounts:
        settings = {"REGISTRATION_ENABLED": "true", "THROTTLE_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
        settings |= {"EMAIL_VERIFICATION": verification, **postbox.settings}
        context = client_of(shared.service(kind, **settings))
        opened.append(api := context.__enter__())
        for table in ("outbox", "one_time_codes", "mail_clients"):  # what was written for nobody stays
            api.sql(f"DELETE FROM {table}")
        api.sql("UPDATE users SET email_verified_at = created_at")  # an operator has made it
        return Accounts(api, postbox)

    yield make
    for api in opened:
        api.close()


@pytest.fixture
def off(accounts_of: Callable[[str], Accounts]) -> Accounts:
    return accounts_of("off")


@pytest.fixture
def on(accounts_of: Callable[[str], Accounts]) -> Accounts:
    return accounts_of("on")


@pytest.fixture
def required(accounts_of: Callable[[str], Accounts]) -> Accounts:
    return accounts_of("required")
