"""Credentials: whom a login name belongs to, and which hash the password must have."""

from typing import NamedTuple

import sqlalchemy
from sqlalchemy import Connection
from sqlmodel import col

from userapi.kit.database import require_asked
from userapi.models import User, canonical

_CREDENTIALS = sqlalchemy.select(
    col(User.id), col(User.hashed_password), col(User.is_active), col(User.username_key), col(User.email_key)
)


class Credentials(NamedTuple):
    """What is needed to check a user's password."""

    user_id: int
    hashed_password: str
    is_active: bool


def find(connection: Connection, login: str) -> Credentials | None:
    """Return the credentials of the user with this name or e-mail address, in any letter case; None for nobody."""
    key = canonical(login)
    if not key.isprintable():  # no name has such characters, and databases choke on some: NUL, lone surrogates
        return None
    column = col(User.email_key) if "@" in key else col(User.username_key)  # no username has an @
    found = connection.execute(_CREDENTIALS.where(column == key)).one_or_none()
    if found is None:
        return None
    keys = (found.username_key, found.email_key)
    if key not in keys:  # MySQL ignores trailing spaces
        require_asked(key.rstrip(" ") in keys, True)
        return None
    return Credentials(found.id or 0, found.hashed_password, found.is_active)


def dearest_cost(connection: Connection) -> int | None:
    """Return the highest cost of bcrypt among all users' hashes; None if there are none."""
    cost = sqlalchemy.func.max(sqlalchemy.func.substr(col(User.hashed_password), 5, 2))
    dearest = connection.execute(sqlalchemy.select(cost).where(col(User.hashed_password).like("$2_$__$%"))).scalar_one()
    return int(dearest) if dearest and dearest.isdigit() else None
