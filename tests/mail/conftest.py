"""A mail server, and a service that sends there."""

import secrets
from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.mail import MailServer, mail_server
from tests.support.servers import Shared


@pytest.fixture(scope="session")
def postbox() -> Iterator[MailServer]:
    """A mail server that delivers, to whoever logs in over TLS."""
    with mail_server(tls=True) as server:
        yield server


@pytest.fixture
def mailing(shared: Shared, kind: str, postbox: MailServer) -> Iterator[Api]:
    """As `api`, of a service that sends mails, with a throttle and open to all."""
    settings = {"THROTTLE_ENABLED": "true", "REGISTRATION_ENABLED": "true", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with client_of(shared.service(kind, **settings, **postbox.settings)) as api:
        yield api


@pytest.fixture
def name() -> str:
    """A name that no other test has used: tests share the mail server."""
    return f"u{secrets.token_hex(6)}"
