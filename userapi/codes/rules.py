"""One-time codes: a link's token and a code that people can type, one as good as the other, consumed once."""

import secrets
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, delete, update
from sqlmodel import Session, col, select

from userapi.codes.models import OneTimeCode
from userapi.models import User, now
from userapi.proof import credentials
from userapi.security.keyring import Keyring

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words, and nothing that looks alike
TRIES = 5  # wrong codes that end it


class Issued(NamedTuple):
    """A new secret in its two forms: 256 random bits for links, 8 letters as `WDJB-MJHT` for people."""

    token: str
    code: str


class Redeemed(NamedTuple):
    """Whose code it was, locked in the unit, and what was kept with it."""

    user: User
    data: str | None


def issue(
    db: Session,
    keyring: Keyring,
    purpose: str,
    user: User | None,
    lifetime: timedelta,
    *,
    data: str | None = None,
    bound: bool = True,
) -> Issued:
    """Return a new code of a user; it ends the one before of the same purpose. None is nobody: it is never good.

    `data` of up to 254 characters comes back when it is redeemed. `bound` ends it with the user's present password and
    address.
    """
    at, user_id = now(), user.id if user else 0  # which nobody has
    db.exec(delete(OneTimeCode).where(col(OneTimeCode.user_id) == user_id, col(OneTimeCode.purpose) == purpose))
    letters = "".join(secrets.choice(ALPHABET) for _ in range(8))
    issued = Issued(secrets.token_urlsafe(32), f"{letters[:4]}-{letters[4:]}")
    db.add(
        OneTimeCode(
            user_id=user_id or None,
            purpose=purpose,
            token_hmac=keyring.digests("token", purpose, issued.token)[0],
            code_hmac=keyring.digests("code", purpose, str(user_id), letters)[0],
            bound_to=_present(keyring, user)[0] if bound and user else None,
            data=data,
            tries_left=TRIES,
            created_at=at,
            expires_at=at + lifetime,
        )
    )
    db.flush()
    return issued


def find(connection: Connection, keyring: Keyring, purpose: str, token: str) -> tuple[int, str | None] | None:
    """Return the user's id and the data of a link's token that is good now, as far as that can be told, and keep it.

    For a page that says what is about to happen: to ask with GET consumes nothing.
    """
    found = sqlalchemy.select(col(OneTimeCode.user_id), col(OneTimeCode.data)).where(_of_token(keyring, purpose, token))
    row = connection.execute(found).first()
    return (row.user_id, row.data) if row is not None and row.user_id is not None else None


def is_open(db: Session, keyring: Keyring, purpose: str, user: User) -> bool:
    """Tell whether a user has a code that is good now."""
    mine = (col(OneTimeCode.user_id) == user.id) & (col(OneTimeCode.purpose) == purpose)
    mine &= (col(OneTimeCode.expires_at) > now()) & (col(OneTimeCode.tries_left) > 0)
    bound_to = db.exec(select(OneTimeCode.bound_to).where(mine)).all()
    return any(bound in (None, *_present(keyring, user)) for bound in bound_to)


def redeem_token(db: Session, keyring: Keyring, purpose: str, token: str) -> Redeemed | None:
    """Consume a link's token; return None for one that was used, has expired or was ended, or is none."""
    good = _of_token(keyring, purpose, token)
    user_id = db.exec(select(OneTimeCode.user_id).where(good)).first()
    return _consume(db, keyring, user_id or 0, good)


def redeem_code(db: Session, keyring: Keyring, purpose: str, login: str, code: str) -> Redeemed | None:
    """Consume the code that the user with this name or address has typed; return None as `redeem_token` does.

    Each try is counted before the code is looked at. So whoever gets None must not raise inside the unit: rolled back,
    the try would be free.
    """
    found = credentials.find(db.connection(), login)
    user_id = found.user_id if found else 0  # which nobody has: the statements are the same
    letters = "".join(letter for letter in code.upper() if letter in ALPHABET)
    mine = (col(OneTimeCode.user_id) == user_id) & (col(OneTimeCode.purpose) == purpose)
    mine &= col(OneTimeCode.expires_at) > now()
    _lock(db, user_id)
    counted = update(OneTimeCode).where(mine, col(OneTimeCode.tries_left) > 0)
    if not db.exec(counted.values(tries_left=OneTimeCode.tries_left - 1)).rowcount:
        return None
    digests = keyring.digests("code", purpose, str(user_id), letters)
    return _consume(db, keyring, user_id, mine & col(OneTimeCode.code_hmac).in_(digests))


def _of_token(keyring: Keyring, purpose: str, token: str) -> ColumnElement[bool]:
    known = col(OneTimeCode.token_hmac).in_(keyring.digests("token", purpose, token))
    alive = (col(OneTimeCode.expires_at) > now()) & (col(OneTimeCode.tries_left) > 0)
    return known & (col(OneTimeCode.purpose) == purpose) & alive


def _consume(db: Session, keyring: Keyring, user_id: int, good: ColumnElement[bool]) -> Redeemed | None:
    """Delete a code that fits and return whose it was. Of two at once, one deletes it; all lock the user first."""
    user = _lock(db, user_id)
    found = db.exec(select(OneTimeCode.id, OneTimeCode.bound_to, OneTimeCode.data).where(good)).first()
    if user is None or found is None:
        return None
    if not db.exec(delete(OneTimeCode).where(col(OneTimeCode.id) == found[0])).rowcount:
        return None
    return Redeemed(user, found[2]) if found[1] in (None, *_present(keyring, user)) else None


def _lock(db: Session, user_id: int) -> User | None:
    return db.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()


def _present(keyring: Keyring, user: User) -> list[str]:
    """Return digests of the password and the address that a user has now."""
    return keyring.digests("bound", user.hashed_password, user.email_key)
