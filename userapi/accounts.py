"""Rules about users: who is who, what may change, and that an active admin remains."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, bindparam, true
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from userapi import sessions
from userapi.database import RunAgain
from userapi.errors import (
    ApiError,
    CurrentPasswordIncorrect,
    CurrentPasswordRequired,
    EmailTaken,
    LastAdmin,
    NotEnoughPermissions,
    UsernameTaken,
    UserNotFound,
)
from userapi.models import User, UserCreate, UserUpdate, canonical, now

PRIVILEGES = {"is_admin", "is_active"}

_FIND = select(*sessions.PUBLIC_COLUMNS).where(User.id == bindparam("user_id"))
_ACTIVE_ADMIN: ColumnElement[bool] = (col(User.is_admin) == true()) & (col(User.is_active) == true())


class Caller(NamedTuple):
    """Who makes a request: the public columns and version of an active user, and the login session used."""

    user: Row[Any]
    session_id: int


class Credentials(NamedTuple):
    """What is needed to check a user's password."""

    user_id: int
    hashed_password: str


def find(session: Session, user_id: int) -> Row[Any]:
    """Give the public columns and the version of a user.

    Raises: UserNotFound.
    """
    row: Row[Any] | None = session.exec(_FIND, params={"user_id": user_id}).one_or_none()
    if row is None:
        raise UserNotFound
    return row


def find_page(session: Session, page: int, page_size: int, is_active: bool | None) -> Sequence[Row[Any]]:
    """Give the public columns of the users on a page, counted from 1, in the order of their ids."""
    statement = select(*sessions.PUBLIC_COLUMNS).order_by(col(User.id)).limit(page_size).offset((page - 1) * page_size)
    if is_active is not None:
        statement = statement.where(User.is_active == is_active)
    rows: Sequence[Row[Any]] = session.exec(statement).all()
    return rows


def credentials(session: Session, login: str) -> Credentials | None:
    """Give the credentials of the user with this name or e-mail address, in any letter case."""
    key = canonical(login)
    column = User.email_key if "@" in key else User.username_key  # no username has an @
    row = session.exec(select(User.id, User.hashed_password, column).where(column == key)).one_or_none()
    if row is None or row[2] != key:  # MySQL ignores trailing spaces
        return None
    return Credentials(row[0] or 0, row[1])


def hash_of(session: Session, user_id: int) -> str | None:
    """Give the hash of a user's password."""
    return session.exec(select(User.hashed_password).where(User.id == user_id)).one_or_none()


def any_user(session: Session) -> bool:
    """Tell whether there is any user."""
    return session.exec(select(User.id).limit(1)).first() is not None


def create(session: Session, new: UserCreate, hashed_password: str) -> User:
    """Make a user.

    Raises: UsernameTaken, EmailTaken; the username is reported first.
    """
    user = User(
        **new.model_dump(exclude={"password", "is_admin"}),
        is_admin=bool(new.is_admin),
        username_key=canonical(new.username),
        email_key=canonical(new.email),
        hashed_password=hashed_password,
    )
    session.add(user)
    _flush(session, user)
    return user


def create_first_admin(session: Session, new: UserCreate, hashed_password: str) -> User | None:
    """Make an active admin if there is no user at all; None if there is one."""
    if any_user(session):
        return None
    try:
        return create(session, new.model_copy(update={"is_admin": True}), hashed_password)
    except (UsernameTaken, EmailTaken):  # another process was faster
        return None


def update(
    session: Session,
    user_id: int,
    changes: UserUpdate,
    by: Caller,
    verified_hash: str | None = None,
    new_hash: str | None = None,
) -> User:
    """Change a user and give it as it now is. A new password ends the user's sessions but the one that made the change.

    `verified_hash` is the hash that `current_password` was found to have, `new_hash` that of the new password.

    Raises: UserNotFound, NotEnoughPermissions, CurrentPasswordRequired, CurrentPasswordIncorrect, LastAdmin,
    UsernameTaken, EmailTaken.
    """
    wanted = changes.model_dump(exclude={"password", "current_password"}, exclude_none=True)
    user = _lock(session, user_id, may_lose_admin=False in (changes.is_admin, changes.is_active))
    differing = {name: value for name, value in wanted.items() if getattr(user, name) != value}
    if differing.keys() & PRIVILEGES and not by.user.is_admin:
        raise NotEnoughPermissions
    if user_id == by.user.id and needs_current_password(by, changes):
        if verified_hash is None:
            raise CurrentPasswordRequired
        if verified_hash != user.hashed_password:
            raise CurrentPasswordIncorrect
    if not differing and new_hash is None:
        return user
    if _is_active_admin(user) and False in (differing.get("is_admin"), differing.get("is_active")):
        _require_other_admin(session, user)
    user.sqlmodel_update(differing)
    user.username_key, user.email_key = canonical(user.username), canonical(user.email)
    if new_hash is not None:
        user.hashed_password = new_hash
    user.updated_at = now()
    user.version += 1
    _flush(session, user)
    if not user.is_active:
        sessions.end_all(session, user_id)
    elif new_hash is not None:
        sessions.end_all(session, user_id, keep=by.session_id if user_id == by.user.id else None)
    return user


def needs_current_password(by: Caller, changes: UserUpdate) -> bool:
    """Tell whether these changes of the caller's own account need its current password."""
    email_differs = changes.email is not None and canonical(changes.email) != canonical(by.user.email)
    return changes.password is not None or email_differs


def set_password(session: Session, username: str, new_hash: str) -> None:
    """Give the user a new password, for the operator, and end all its sessions.

    Raises: UserNotFound.
    """
    user = session.exec(select(User).where(User.username_key == canonical(username)).with_for_update()).one_or_none()
    if user is None or user.id is None:
        raise UserNotFound
    user.hashed_password, user.updated_at, user.version = new_hash, now(), user.version + 1
    sessions.end_all(session, user.id)


def promote(session: Session, username: str) -> bool:
    """Make the user an active admin, for the operator; tell whether it was not one already.

    Raises: UserNotFound.
    """
    user = session.exec(select(User).where(User.username_key == canonical(username)).with_for_update()).one_or_none()
    if user is None:
        raise UserNotFound
    if _is_active_admin(user):
        return False
    user.is_admin = user.is_active = True
    user.updated_at, user.version = now(), user.version + 1
    return True


def delete(session: Session, user_id: int) -> None:
    """Delete a user; its login sessions go with it.

    Raises: UserNotFound, LastAdmin.
    """
    user = _lock(session, user_id, may_lose_admin=True)
    if _is_active_admin(user):
        _require_other_admin(session, user)
    session.delete(user)


def _is_active_admin(user: User) -> bool:
    return user.is_admin and user.is_active


def _lock(session: Session, user_id: int, *, may_lose_admin: bool) -> User:
    """Lock a user until the unit ends; before it, if an admin may be lost, all active admins, in one order for all."""
    admins: Sequence[int | None] = []
    if may_lose_admin and session.exec(select(User.id).where(User.id == user_id, _ACTIVE_ADMIN)).first():
        admins = session.exec(select(User.id).where(_ACTIVE_ADMIN).order_by(col(User.id)).with_for_update()).all()
    user = session.exec(select(User).where(User.id == user_id).with_for_update()).one_or_none()
    if user is None:
        raise UserNotFound
    if may_lose_admin and _is_active_admin(user) and user_id not in admins:
        raise RunAgain  # made an admin since we looked
    return user


def _require_other_admin(session: Session, user: User) -> None:
    if session.exec(select(User.id).where(_ACTIVE_ADMIN, User.id != user.id).limit(1)).first() is None:
        raise LastAdmin


def _flush(session: Session, user: User) -> None:
    """Write a user; the unique indexes decide whether its names are free."""
    user_id, username_key, email_key = user.id, user.username_key, user.email_key
    try:
        session.flush()
    except IntegrityError as error:
        # The words of this error name the index differently on each database; ask which name is taken instead.
        session.rollback()
        holders: list[tuple[Any, str, type[ApiError]]] = [
            (User.username_key, username_key, UsernameTaken),
            (User.email_key, email_key, EmailTaken),
        ]
        for column, key, taken in holders:
            if session.exec(select(User.id).where(column == key, User.id != (user_id or 0))).first() is not None:
                raise taken from error
        raise RunAgain from error  # freed again since, or no matter of names: a second run tells
