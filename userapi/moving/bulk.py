"""Many users at once, by the word of the operator: found, made, changed, and that taken back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, Row, bindparam, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, func, select

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import announce
from userapi.kit.database import AskAfterRollback, RunAgain
from userapi.models import LOCKED_USER, User, UserUpdate, canonical, now
from userapi.proof import credentials
from userapi.sessions import rules as sessions
from userapi.users import rules
from userapi.users.changes import OPERATOR, PRIVILEGES, PasswordChanged, announce_changes, consequences

TAKEN = {"id": ErrorCode.USERNAME_TAKEN, "username_key": ErrorCode.USERNAME_TAKEN, "email_key": ErrorCode.EMAIL_TAKEN}

Found = dict[str, dict[Any, Row[Any]]]  # users, by each of what tells one from another: the names of TAKEN

_FIND = {
    name: sqlalchemy.select(*LOCKED_USER).where(getattr(User, name).in_(bindparam("keys", expanding=True)))
    for name in TAKEN
}
_TOLD = {*UserUpdate.model_fields, "created_at", "email_verified_at"}  # `pending_email` would be asked for by a mail
_INSERT = sqlalchemy.insert(User)
_RAISE_SEQUENCE = text(
    "SELECT setval(s, :id) FROM (SELECT pg_get_serial_sequence('users', 'id')::regclass AS s) AS sequence"
    " WHERE coalesce(pg_sequence_last_value(s), 0) < :id"
)
_REMOVE = sqlalchemy.delete(User).where(
    col(User.username_key) == bindparam("key"), col(User.hashed_password) == bindparam("hash"), col(User.version) == 1
)


class Before(NamedTuple):
    """What a user was before a change, of the fields that changed. The change was made `at` a time, and a `version`."""

    user_id: int
    fields: dict[str, Any]
    version: int
    at: datetime


def keys(names: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that belong to those of a user's names that are given: both, where `email_claimed` is true."""
    if names.get("email_claimed"):
        return credentials.keys(names["username"], names["email"], claims=True)._asdict()
    return {f"{name}_key": canonical(names[name]) for name in ("username", "email") if name in names}


def find(connection: Connection, users: Iterable[Mapping[str, Any]]) -> Found:
    """Return the users that have the id or one of the keys of one of these."""
    found: Found = {}
    for name, statement in _FIND.items():
        wanted = {user[name] for user in users if user.get(name) is not None}
        rows = connection.execute(statement, {"keys": list(wanted)})
        found[name] = {getattr(row, name): row for row in rows}
    return found


def taken(found: Found, user: Mapping[str, Any], user_id: int | None = None) -> ErrorCode | None:
    """Return the error that a user's id or one of its names belongs to another than `user_id`; None if none does."""
    for name, code in TAKEN.items():
        owner = found[name].get(user.get(name))
        if owner is not None and owner.id != user_id:
            return code
    return None


def raise_sequence(db: Session, highest_id: int) -> None:
    """Have later users get higher ids than this one, so that nobody gets one meanwhile that is to be given."""
    if not highest_id:
        return
    if db.connection().dialect.name == "postgresql":
        db.connection().execute(_RAISE_SEQUENCE, {"id": highest_id})
    elif (db.exec(select(func.max(User.id))).one() or 0) < highest_id:
        # Others go on from the highest id that there ever was, even if that user has gone again.
        nobody = User(
            id=highest_id, username="", email="", username_key="", email_key="", hashed_password=rules.UNUSABLE
        )
        db.add(nobody)
        db.flush()
        db.delete(nobody)


def make(db: Session, users: Sequence[Mapping[str, Any]]) -> None:
    """Make users of all their columns; their ids may be given.

    Raises:
        ApiError: username_taken, email_taken; one for an id, too, as it is said of the user.
    """

    def ask(db: Session) -> None:
        found = find(db.connection(), users)
        for user in users:
            if code := taken(found, user):
                raise ApiError(code, f"{user['username']}: {code.words}")

    for with_id in (True, False):
        if rows := [dict(user) for user in users if ("id" in user) is with_id]:
            try:
                db.connection().execute(_INSERT, rows)
            except IntegrityError as error:
                raise AskAfterRollback(ask) from error


def change(db: Session, changes: Mapping[int, Mapping[str, Any]]) -> list[Before]:
    """Change columns of users, by id; end the sessions that this ends, and announce it as by the operator.

    The keys of names follow; `email_claimed` may be among the columns.

    Raises:
        ApiError: user_not_found, last_admin, username_taken, email_taken.
        RunAgain: A user was made an admin meanwhile.
    """
    losing = {user_id for user_id, fields in changes.items() if False in map(fields.get, PRIVILEGES)}
    guarded = rules.guard_admins(db, losing)
    locked = select(User).where(col(User.id).in_(changes)).order_by(col(User.id)).with_for_update()
    users = db.exec(locked).all()
    if len(users) < len(changes):
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    if not guarded and any(user.id in losing and rules.is_active_admin(user) for user in users):
        raise RunAgain
    before = [_apply(db, user, changes[user.id or 0]) for user in users]
    for user in users:
        if user.id in losing and not rules.is_active_admin(user):
            rules.require_other_admin(db, user.id or 0)
    return before


def remove(db: Session, users: Iterable[Mapping[str, Any]]) -> None:
    """Delete users that `make` has made, unless they were changed since."""
    if rows := [{"key": user["username_key"], "hash": user["hashed_password"]} for user in users]:
        db.connection().execute(_REMOVE, rows)


def change_back(db: Session, users: Iterable[Before]) -> None:
    """Give users the fields that they had before `change`, unless they were changed since."""
    for user_id, fields, version, at in sorted(users, key=lambda before: before.user_id):
        # If the change was not committed after all, another may have made the same version.
        same = (col(User.id) == user_id) & (col(User.version) == version) & (col(User.updated_at) == at)
        db.connection().execute(sqlalchemy.update(User).where(same).values(**fields, version=version + 1))


def _apply(db: Session, user: User, fields: Mapping[str, Any]) -> Before:
    user_id, at = user.id or 0, now()
    present = {"email_claimed": credentials.is_claim(user)}
    asked = {name: value for name, value in fields.items() if value != present.get(name, getattr(user, name, None))}
    columns = {**consequences(user, asked), **fields}
    columns.pop("email_claimed", None)  # the key of the address says it
    differing = {name: value for name, value in columns.items() if getattr(user, name) != value}
    before = {name: getattr(user, name) for name in (*differing, "updated_at")}
    user.sqlmodel_update(differing)
    user.updated_at, user.version = at, user.version + 1
    rules.flush(db, user)
    told = {name: value for name, value in differing.items() if name in asked and name in _TOLD}
    announce_changes(db, user_id, OPERATOR, before, told)
    if "hashed_password" in differing:
        announce(db, PasswordChanged(user_id, OPERATOR))
    if not user.is_active or "hashed_password" in differing:
        sessions.end_all(db, user_id, "password changed" if user.is_active else "user deactivated")
    return Before(user_id, before, user.version, at)
