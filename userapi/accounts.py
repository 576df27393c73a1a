"""Rules about users: who is who, what may change, and that an active admin remains."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Row, bindparam, true
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi import sessions
from userapi.columns import TAGGED_COLUMNS, USERS
from userapi.database import RunAgain, note
from userapi.errors import ApiError, ErrorCode
from userapi.models import User, UserCreate, UserRegister, canonical, now
from userapi.security import is_common

PRIVILEGES = {"is_admin", "is_active"}
PASSWORDS = {"password", "current_password"}
MIN_LOCAL_PART = 4  # characters of an e-mail address before the @ that a password may not contain

Version = Collection[int] | None  # the versions a change is made for (`If-Match`); None for any

_CREDENTIALS = sqlalchemy.select(USERS.id, USERS.hashed_password, USERS.is_active, USERS.username_key, USERS.email_key)
_FIND = sqlalchemy.select(*TAGGED_COLUMNS).where(USERS.id == bindparam("user_id"))
_ACTIVE_ADMIN: ColumnElement[bool] = (col(User.is_admin) == true()) & (col(User.is_active) == true())


class Caller(NamedTuple):
    """Who makes a request: the public columns and version of an active user, and the login session used."""

    user: Row[Any]
    session_id: int


class Credentials(NamedTuple):
    """What is needed to check a user's password."""

    user_id: int
    hashed_password: str
    is_active: bool


class NewPassword(NamedTuple):
    """A password to set, and its hash."""

    password: str
    hashed_password: str


def find(connection: Connection, user_id: int) -> Row[Any]:
    """Give the public columns and the version of a user.

    Raises ApiError: user_not_found.
    """
    row = connection.execute(_FIND, {"user_id": user_id}).one_or_none()
    if row is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    return row


def credentials(connection: Connection, login: str) -> Credentials | None:
    """Give the credentials of the user with this name or e-mail address, in any letter case."""
    key = canonical(login)
    if not key.isprintable():  # no name has such characters, and databases choke on some: NUL, lone surrogates
        return None
    column = USERS.email_key if "@" in key else USERS.username_key  # no username has an @
    found = connection.execute(_CREDENTIALS.where(column == key)).one_or_none()
    if found is None or key not in found[3:]:  # MySQL ignores trailing spaces
        return None
    return Credentials(*found[:3])


def logins(connection: Connection, username: str) -> tuple[str, str]:
    """Give the two names that a user logs in with.

    Raises ApiError: user_not_found.
    """
    found = credentials(connection, username)
    if found is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    user = find(connection, found.user_id)
    return user.username, user.email


def any_user(connection: Connection) -> bool:
    """Tell whether there is any user."""
    return connection.execute(sqlalchemy.select(USERS.id).limit(1)).first() is not None


def create(session: Session, new: UserRegister, hashed_password: str) -> User:
    """Make a user. Only a `UserCreate` makes an admin.

    Raises ApiError: username_taken, email_taken; the username is reported first.
    """
    user = User(
        **new.model_dump(exclude={"password", "is_admin"}),
        is_admin=isinstance(new, UserCreate) and bool(new.is_admin),
        username_key=canonical(new.username),
        email_key=canonical(new.email),
        hashed_password=hashed_password,
    )
    session.add(user)
    _flush(session, user)
    note(session, "user_created", user_id=user.id, is_admin=user.is_admin)
    return user


def create_first_admin(session: Session, new: UserCreate, hashed_password: str) -> User | None:
    """Make an active admin if there is no user at all; None if there is one."""
    if any_user(session.connection()):
        return None
    try:
        return create(session, new.model_copy(update={"is_admin": True}), hashed_password)
    except ApiError:  # the name is taken: another process was faster
        return None


def update(
    session: Session,
    user_id: int,
    changes: Mapping[str, Any],
    by: Caller,
    version: Version = None,
    verified_hash: str | None = None,
    new_password: NewPassword | None = None,
) -> User:
    """Change a user and give it as it now is. A new password ends the user's sessions but the one that made the change.

    `changes` are the fields that a schema let through, `verified_hash` is the hash that `current_password` was found
    to have.

    Raises ApiError: user_not_found, precondition_failed, not_enough_permissions, current_password_required,
    current_password_incorrect, password_too_common, password_contains_username, password_contains_email,
    last_admin, username_taken, email_taken.
    """
    own = user_id == by.user.id
    user = _lock(session, user_id, version, may_lose_admin=False in (changes.get(name) for name in PRIVILEGES))
    differing = {
        name: value for name, value in changes.items() if name not in PASSWORDS and getattr(user, name) != value
    }
    if differing.keys() & PRIVILEGES and not by.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
    if own and needs_current_password(by, changes):
        if verified_hash is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_REQUIRED)
        if verified_hash != user.hashed_password:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_INCORRECT)
    if not differing and new_password is None:
        return user
    if _is_active_admin(user) and False in (differing.get(name) for name in PRIVILEGES):
        _require_other_admin(session, user)
    user.sqlmodel_update(differing)
    user.username_key, user.email_key = canonical(user.username), canonical(user.email)
    if new_password is not None:
        refuse_guessable(new_password.password, user.username, user.email)
        user.hashed_password = new_password.hashed_password
    user.updated_at = now()
    user.version += 1
    _flush(session, user)
    if differing.get("is_admin"):
        note(session, "admin_granted", user_id=user_id, by=by.user.id)
    if new_password is not None:
        note(session, "password_changed", user_id=user_id, by=by.user.id)
    if not user.is_active:
        sessions.end_all(session, user_id)
    elif new_password is not None:
        sessions.end_all(session, user_id, keep=by.session_id if own else None)
    return user


def needs_current_password(by: Caller, changes: Mapping[str, Any]) -> bool:
    """Tell whether these changes of the caller's own account need its current password."""
    return "password" in changes or canonical(changes.get("email", by.user.email)) != canonical(by.user.email)


def refuse_guessable(password: str, username: str, email: str) -> None:
    """Refuse a password that is common, or that holds the user's own names (NIST SP 800-63B-4 section 3.1.1.2).

    Raises ApiError: password_too_common, password_contains_username, password_contains_email.
    """
    folded, local_part = password.casefold(), canonical(email).partition("@")[0]
    if is_common(password):
        raise ApiError(ErrorCode.PASSWORD_TOO_COMMON)
    if canonical(username) in folded:
        raise ApiError(ErrorCode.PASSWORD_CONTAINS_USERNAME)
    if len(local_part) >= MIN_LOCAL_PART and local_part in folded:
        raise ApiError(ErrorCode.PASSWORD_CONTAINS_EMAIL)


def set_password(session: Session, username: str, new: NewPassword) -> None:
    """Give the user a new password, for the operator, and end all its sessions.

    Raises ApiError: user_not_found, password_too_common, password_contains_username, password_contains_email.
    """
    user = _lock_named(session, username)
    refuse_guessable(new.password, user.username, user.email)
    user.hashed_password, user.updated_at, user.version = new.hashed_password, now(), user.version + 1
    note(session, "password_changed", user_id=user.id, by="operator")
    sessions.end_all(session, user.id or 0)


def promote(session: Session, username: str) -> bool:
    """Make the user an active admin, for the operator; tell whether it was not one already.

    Raises ApiError: user_not_found.
    """
    user = _lock_named(session, username)
    if _is_active_admin(user):
        return False
    user.is_admin = user.is_active = True
    note(session, "admin_granted", user_id=user.id, by="operator")
    user.updated_at, user.version = now(), user.version + 1
    return True


def delete(session: Session, user_id: int, version: Version = None) -> None:
    """Delete a user; its login sessions go with it.

    Raises ApiError: user_not_found, precondition_failed, last_admin.
    """
    user = _lock(session, user_id, version, may_lose_admin=True)
    if _is_active_admin(user):
        _require_other_admin(session, user)
    session.delete(user)
    note(session, "user_deleted", user_id=user_id)


def _is_active_admin(user: User) -> bool:
    return user.is_admin and user.is_active


def _lock(session: Session, user_id: int, version: Version, *, may_lose_admin: bool) -> User:
    """Lock a user until the unit ends; before it, if an admin may be lost, all active admins, in one order for all.

    Raises ApiError: user_not_found; precondition_failed, when the user's version is not among those asked for.
    """
    admins: Sequence[int | None] = []
    if may_lose_admin and session.exec(select(User.id).where(User.id == user_id, _ACTIVE_ADMIN)).first():
        admins = session.exec(select(User.id).where(_ACTIVE_ADMIN).order_by(col(User.id)).with_for_update()).all()
    user = session.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    if may_lose_admin and _is_active_admin(user) and user_id not in admins:
        raise RunAgain  # made an admin since we looked
    if version is not None and user.version not in version:
        raise ApiError(ErrorCode.PRECONDITION_FAILED)
    return user


def _lock_named(session: Session, username: str) -> User:
    named = select(User).where(User.username_key == canonical(username)).with_for_update()
    user = session.exec(named).one_or_none()
    if user is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    return user


def _require_other_admin(session: Session, user: User) -> None:
    if session.exec(select(User.id).where(_ACTIVE_ADMIN, User.id != user.id).limit(1)).first() is None:
        raise ApiError(ErrorCode.LAST_ADMIN)


def _flush(session: Session, user: User) -> None:
    """Write a user; the unique indexes decide whether its names are free."""
    user_id, username_key, email_key = user.id, user.username_key, user.email_key
    try:
        session.flush()
    except IntegrityError as error:
        # The words of this error name the index differently on each database; ask which name is taken instead.
        session.rollback()
        holders: list[tuple[Any, str, ErrorCode]] = [
            (User.username_key, username_key, ErrorCode.USERNAME_TAKEN),
            (User.email_key, email_key, ErrorCode.EMAIL_TAKEN),
        ]
        for column, key, taken in holders:
            if session.exec(select(User.id).where(column == key, User.id != (user_id or 0))).first() is not None:
                raise ApiError(taken) from error
        raise RunAgain from error  # freed again since, or no matter of names: a second run tells
