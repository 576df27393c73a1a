"""Credentials: whom a login name belongs to, and which hash the password must have."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, bindparam
from sqlmodel import col

from userapi.kit.database import require_asked
from userapi.models import MAX_EMAIL, LockedUser, User, canonical

_CREDENTIALS = sqlalchemy.select(
    col(User.id),
    col(User.hashed_password),
    col(User.is_active),
    col(User.email_verified_at),
    col(User.username_key),
    col(User.email_key),
)
_BY_USERNAME = _CREDENTIALS.where(col(User.username_key) == bindparam("key"))
_HOLDS = col(User.email_key) == bindparam("key")
_CLAIMS = (col(User.email_key) > bindparam("claims_from")) & (col(User.email_key) < bindparam("claims_to"))
_BY_EMAIL = _CREDENTIALS.where(_HOLDS | _CLAIMS).order_by(_HOLDS.desc(), col(User.id)).limit(1)


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
    by_email = "@" in key  # which no username has
    start, end = _claims_between(key)
    keys = {"key": key} | ({"claims_from": start, "claims_to": end} if by_email else {})
    found = connection.execute(_BY_EMAIL if by_email else _BY_USERNAME, keys).one_or_none()
    if found is None:
        return None
    names = (found.username_key, found.email_key)
    if key not in names and not found.email_key.startswith(start):  # MySQL ignores trailing spaces
        require_asked(key.rstrip(" ") in names, True)
        return None
    verified = found.email_verified_at is not None
    holds = not by_email or " " not in found.email_key
    return Credentials(found.id or 0, found.hashed_password, found.is_active, verified, holds)


class Keys(NamedTuple):
    """What is unique of a user's names."""

    username_key: str
    email_key: str


def keys(username: str, email: str, *, claims: bool) -> Keys:
    """Return the unique keys of a user's names. `claims`: the address is not its own yet.

    The key of a claim has the username behind the address, after a space, so there may be many of one address.
    """
    key = canonical(username)
    return Keys(key, _claims_between(email)[0] + key if claims else canonical(email))


def keys_after(user: User | LockedUser, changes: Mapping[str, Any]) -> Keys:
    """Return the unique keys of a user after changes: a claim stays one, unless `email_claimed` says otherwise."""
    names = {name: changes.get(name, getattr(user, name)) for name in ("username", "email")}
    return keys(**names, claims=changes.get("email_claimed", is_claim(user)))


def set_keys(user: User, *, claims: bool) -> None:
    """Give a user the unique keys of its names; see `keys`."""
    user.username_key, user.email_key = keys(user.username, user.email, claims=claims)


def is_claim(user: User | LockedUser) -> bool:
    """Tell whether a user only claims its address, and loses it to whoever verifies it."""
    return " " in user.email_key  # which no address has


def claimed() -> ColumnElement[bool]:
    """Return what tells for each user what `is_claim` tells for one."""
    return col(User.email_key).contains(" ")


def claims(email: str) -> ColumnElement[bool]:
    """Return what picks the users who claim an address without having verified it."""
    start, end = _claims_between(email)
    return (col(User.email_key) > start) & (col(User.email_key) < end)


def _claims_between(email: str) -> tuple[str, str]:
    """Return what the keys of claims of an address begin with, and what comes after all of them."""
    told = canonical(email)[: MAX_EMAIL - 21]  # a username has at most 20 characters
    return told + " ", told + "!"


def dearest_cost(connection: Connection) -> int | None:
    """Return the highest cost of bcrypt among all users' hashes; None if there are none."""
    cost = sqlalchemy.func.max(sqlalchemy.func.substr(col(User.hashed_password), 5, 2))
    dearest = connection.execute(sqlalchemy.select(cost).where(col(User.hashed_password).like("$2_$__$%"))).scalar_one()
    return int(dearest) if dearest and dearest.isdigit() else None
