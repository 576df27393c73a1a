"""Rules about OAuth clients. A secret is 256 random bits: its plain digest gives nothing to guess from."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Connection, bindparam
from sqlmodel import Session, col

from userapi.clients.models import CLIENT_NAME, OAuthClient
from userapi.errors import Refusal
from userapi.kit.announcements import Announcement, announce

_DIGEST = sqlalchemy.select(col(OAuthClient.secret_digest)).where(col(OAuthClient.name) == bindparam("name"))
_NAMES = sqlalchemy.select(col(OAuthClient.name)).order_by(col(OAuthClient.name))


@dataclass(frozen=True)
class ClientCreated(Announcement):
    """A client was made."""

    client_id: str


@dataclass(frozen=True)
class ClientDeleted(Announcement):
    """A client was deleted."""

    client_id: str


def new_secret() -> str:
    """Return a secret for a client, to be shown once."""
    return secrets.token_urlsafe(32)


def create(db: Session, name: str, secret: str) -> None:
    """Make a client; only a digest of its secret is kept.

    Raises:
        Refusal: The name is not one that a client may have, or taken.
    """
    if not re.fullmatch(CLIENT_NAME, name, re.ASCII):
        raise Refusal(f"{name!r} is no name for a client: take up to 64 letters, digits, '_', '.' or '-'")
    if db.get(OAuthClient, name) is not None:
        raise Refusal(f"there is a client {name} already")
    db.add(OAuthClient(name=name, secret_digest=_digest(secret)))
    announce(db, ClientCreated(name))


def names(connection: Connection) -> list[str]:
    """Return the names of all clients."""
    return list(connection.scalars(_NAMES))


def delete(db: Session, name: str) -> None:
    """Delete a client; from now on it is told nothing.

    Raises:
        Refusal: There is none of this name.
    """
    found = db.get(OAuthClient, name)
    if found is None:
        raise Refusal(f"there is no client {name}")
    db.delete(found)
    announce(db, ClientDeleted(name))


def is_known(connection: Connection, name: str, secret: str) -> bool:
    """Tell whether there is a client of this name and secret, in the same time whatever the secret is."""
    if not re.fullmatch(CLIENT_NAME, name, re.ASCII):
        return False
    kept = connection.scalars(_DIGEST, {"name": name}).one_or_none()
    return hmac.compare_digest(kept or "", _digest(secret))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
