"""Rules about users: who is who, what may be, and that an active admin remains."""

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, bindparam, true
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi.errors import ApiError, ErrorCode, refuse
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import AskAfterRollback, RunAgain, require_asked
from userapi.models import (
    LOCKED_USER,
    USER_ROW,
    Deployment,
    LockedUser,
    User,
    UserBase,
    UserCreate,
    UserRegister,
    UserRow,
    canonical,
    column,
    now,
    row_of,
)
from userapi.proof import credentials
from userapi.sessions import callers
from userapi.sessions import rules as sessions
from userapi.sessions.rules import Caller

UNUSABLE = "!"  # in place of the hash of whoever was invited; no password has it
Version = Collection[int] | None  # the versions a change is made for (`If-Match`); None for any

_FIND = sqlalchemy.select(*USER_ROW).where(col(User.id) == bindparam("user_id"))
# Statements of columns: an entity, and what its session does to find out what has changed, cost three times as much.
_LOCK = sqlalchemy.select(*LOCKED_USER).with_for_update()
_LOCK_BY_ID = _LOCK.where(col(User.id) == bindparam("user_id"))
_LOCK_BY_NAME = _LOCK.where(col(User.username_key) == bindparam("key"))
_WRITE = sqlalchemy.update(column(User.id).table).where(column(User.id) == bindparam("user_id"))
_ACTIVE_ADMIN: ColumnElement[bool] = (col(User.is_admin) == true()) & (col(User.is_active) == true())


@dataclass(frozen=True)
class UserCreated(Announcement):
    """A user was made."""

    user_id: int
    is_admin: bool
    invited: bool | None = None  # it has no password yet


@dataclass(frozen=True)
class UserDeleted(Announcement):
    """A user was deleted, by the user with the id `by`."""

    user_id: int
    by: int


def find(connection: Connection, user_id: int) -> UserRow:
    """Return a user as it is now.

    Raises:
        ApiError: user_not_found.
    """
    row = connection.execute(_FIND, {"user_id": user_id}).one_or_none()
    if row is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    user = UserRow._make(row)
    require_asked(user.id, user_id)
    return user


def any_user(connection: Connection) -> bool:
    """Tell whether there is any user."""
    return connection.execute(sqlalchemy.select(col(User.id)).limit(1)).first() is not None


def taken(connection: Connection, names: Mapping[str, Any], user_id: int = 0) -> list[ApiError]:
    """Return which of the names that a user with this id is to have another has, as far as can be told now.

    The codes are username_taken and email_taken, the username first.
    """
    codes = {"username": ErrorCode.USERNAME_TAKEN, "email": ErrorCode.EMAIL_TAKEN}
    holders = {code: credentials.find(connection, names[name]) for name, code in codes.items() if names.get(name)}
    return [ApiError(code) for code, holder in holders.items() if holder and holder.holds and holder.user_id != user_id]


def create(db: Session, new: UserRegister, hashed_password: str, *, claims: bool = False) -> UserRow:
    """Make a user and return it. Only a `UserCreate` makes an admin; whoever `claims` its address must verify it.

    Raises:
        ApiError: username_taken, email_taken; the username is reported first.
    """
    by_admin = new if isinstance(new, UserCreate) else None
    user = User(
        **new.model_dump(include=set(UserBase.model_fields)),
        is_admin=by_admin is not None and bool(by_admin.is_admin),
        email_verified_at=now() if by_admin is not None and by_admin.email_verified else None,
        hashed_password=hashed_password,
    )
    credentials.set_keys(user, claims=claims)
    db.add(user)
    flush(db, user)
    announce(db, UserCreated(user.id or 0, user.is_admin, (hashed_password == UNUSABLE) or None))
    return row_of(user)


def delete(db: Session, user_id: int, by: Caller, version: Version = None) -> None:
    """Delete a user, by the word of the user `by`; its login sessions end with it.

    Raises:
        ApiError: recent_login_required, user_not_found, precondition_failed, last_admin, session_ended,
            not_enough_permissions.
    """
    by.require_recent_login()
    user = lock(db, user_id, version, may_lose_admin=True)
    callers.require_still(db, by)
    if is_active_admin(user):
        require_other_admin(db, user_id)
    sessions.end_all(db, user_id, "user deleted")
    db.exec(sqlalchemy.delete(User).where(col(User.id) == user_id))
    announce(db, UserDeleted(user_id, by.user.id))


def is_active_admin(user: User | LockedUser) -> bool:
    """Tell whether a user is an admin who may act."""
    return user.is_admin and user.is_active


def lock(db: Session, user_id: int, version: Version, *, may_lose_admin: bool) -> LockedUser:
    """Lock a user until the unit ends and return it.

    If an admin may be lost, the guard of the admins is written before.

    Raises:
        ApiError: user_not_found; precondition_failed, when the user's version is not among those asked for.
        RunAgain: The user was made an admin meanwhile.
    """
    guarded = may_lose_admin and guard_admins(db, [user_id])
    user = _locked(db, _LOCK_BY_ID, user_id=user_id)
    require_asked(user.id, user_id)
    if may_lose_admin and is_active_admin(user) and not guarded:
        raise RunAgain
    if version is not None and user.version not in version:
        raise ApiError(ErrorCode.PRECONDITION_FAILED)
    return user


def guard_admins(db: Session, losing: Collection[int]) -> bool:
    """Write the guard of the admins if one of the users with these ids is an active admin; tell whether one is.

    It is the one row that every loss of an admin writes: one such unit at a time, on all nodes of a cluster. Locks of
    the admins' own rows would do on one server; on a cluster each node has its own.

    Raises:
        RunAgain: Another has made the row at this moment.
    """
    if db.exec(select(User.id).where(col(User.id).in_(losing), _ACTIVE_ADMIN).limit(1)).first() is None:
        return False
    new = secrets.token_hex(8)  # a row that stays the same counts as not written
    guard = sqlalchemy.update(Deployment).where(col(Deployment.name) == "admins").values(value=new)
    if not db.exec(guard).rowcount:
        db.add(Deployment(name="admins", value=new))
        try:
            db.flush()
        except IntegrityError as error:
            raise RunAgain from error
    return True


def lock_named(db: Session, username: str) -> LockedUser:
    """Lock the user of a username, in any letter case, until the unit ends and return it.

    Raises:
        ApiError: user_not_found.
    """
    user = _locked(db, _LOCK_BY_NAME, key=canonical(username))
    require_asked(user.username_key, canonical(username))
    return user


def _locked(db: Session, statement: Any, **which: Any) -> LockedUser:
    row = db.connection().execute(statement, which).one_or_none()
    if row is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    return LockedUser._make(row)


def require_other_admin(db: Session, user_id: int) -> None:
    """Check that there is an active admin beside this user.

    Raises:
        ApiError: last_admin.
    """
    if db.exec(select(User.id).where(_ACTIVE_ADMIN, User.id != user_id).limit(1)).first() is None:
        raise ApiError(ErrorCode.LAST_ADMIN)


def write(db: Session, user: LockedUser, fields: Mapping[str, Any]) -> LockedUser:
    """Write fields of a locked user and return it with them, and with its next version.

    Raises:
        AskAfterRollback: Its names are taken; see `names_free`.
    """
    fields = {**fields, "updated_at": now(), "version": user.version + 1}
    written = user._replace(**fields)
    with names_free(written):
        db.connection().execute(_WRITE, {"user_id": user.id, **fields})
    return written


def flush(db: Session, user: User) -> None:
    """Write a user that a session holds.

    Raises:
        AskAfterRollback: Its names are taken; see `names_free`.
    """
    with names_free(user):
        db.flush()


@contextmanager
def names_free(user: User | LockedUser) -> Iterator[None]:
    """Have a user written inside; the unique indexes decide whether its names are free.

    Raises:
        AskAfterRollback: They are not. The error's words name the index differently on each database, so which name
            is taken is asked afterwards, the username first.
    """
    user_id = user.id or 0
    keys: list[tuple[Any, str, ErrorCode]] = [
        (User.username_key, user.username_key, ErrorCode.USERNAME_TAKEN),
        (User.email_key, user.email_key, ErrorCode.EMAIL_TAKEN),
    ]

    def ask(db: Session) -> None:
        others = {code: select(User.id).where(key_column == key, User.id != user_id) for key_column, key, code in keys}
        refuse([ApiError(code) for code, other in others.items() if db.exec(other).first() is not None])

    try:
        yield
    except IntegrityError as error:
        raise AskAfterRollback(ask) from error
