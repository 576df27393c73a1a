"""Credentials: whom a login name belongs to, and which hash the password must have."""

from typing import NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Connection
from sqlmodel import col

from userapi.kit.database import require_asked
from userapi.models import MAX_EMAIL, User, canonical

_CREDENTIALS = sqlalchemy.select(
    col(User.id),
    col(User.hashed_password),
    col(User.is_active),
    col(User.email_verified_at),
    col(User.username_key),
    col(User.email_key),
)


class Credentials(NamedTuple):
    """What is needed to check a user's password."""

    user_id: int
    hashed_password: str
    is_active: bool
    email_verified: bool
    holds: bool  # the name is its own, not an address that it merely claims


def find(connection: Connection, login: str) -> Credentials | None:
    """Return the credentials of the user with this name or e-mail address, in any letter case; None for nobody.

    Of those who only claim an address, which nobody holds, it is the first.
    """
    key = canonical(login)
    if not key.isprintable():  # no name has such characters, and databases choke on some: NUL, lone surrogates
        return None
    if "@" in key:  # which no username has
        known = col(User.email_key) == key
        wanted = _CREDENTIALS.where(known | claims(key)).order_by(known.desc(), col(User.id)).limit(1)
    else:
        wanted = _CREDENTIALS.where(col(User.username_key) == key)
    found = connection.execute(wanted).one_or_none()
    if found is None:
        return None
    keys = (found.username_key, found.email_key)
    if key not in keys and not found.email_key.startswith(_claim_start(key)):  # MySQL ignores trailing spaces
        require_asked(key.rstrip(" ") in keys, True)
        return None
    verified = found.email_verified_at is not None
    holds = "@" not in key or " " not in found.email_key
    return Credentials(found.id or 0, found.hashed_password, found.is_active, verified, holds)


def set_keys(user: User, *, claims: bool | None = None) -> None:
    """Make the unique keys of a user's names. `claims`: the address is not its own yet; None: that stays as it is.

    The key of a claim has the username behind the address, after a space, so there may be many of one address.
    """
    user.username_key = canonical(user.username)
    if claims is None:
        claims = is_claim(user)
    user.email_key = _claim_start(user.email) + user.username_key if claims else canonical(user.email)


def is_claim(user: User) -> bool:
    """Tell whether a user only claims its address, and loses it to whoever verifies it."""
    return " " in user.email_key  # which no address has


def claims(email: str) -> ColumnElement[bool]:
    """Return what picks the users who claim an address without having verified it."""
    start = _claim_start(email)
    return (col(User.email_key) > start) & (col(User.email_key) < start[:-1] + "!")


def _claim_start(email: str) -> str:
    return canonical(email)[: MAX_EMAIL - 21] + " "  # a username has at most 20 characters


def dearest_cost(connection: Connection) -> int | None:
    """Return the highest cost of bcrypt among all users' hashes; None if there are none."""
    cost = sqlalchemy.func.max(sqlalchemy.func.substr(col(User.hashed_password), 5, 2))
    dearest = connection.execute(sqlalchemy.select(cost).where(col(User.hashed_password).like("$2_$__$%"))).scalar_one()
    return int(dearest) if dearest and dearest.isdigit() else None
