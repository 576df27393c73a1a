"""Changes of a user: who may make them, what follows from them, and who hears of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlmodel import Session

from userapi.errors import ApiError, ErrorCode, refuse
from userapi.kit.announcements import Announcement, announce
from userapi.models import LockedUser, User, UserRow, now, row_of
from userapi.proof import credentials
from userapi.security.strength import guessable
from userapi.sessions import callers, generations
from userapi.sessions import rules as sessions
from userapi.sessions.rules import Caller
from userapi.users import rules
from userapi.users.rules import Version

PRIVILEGES = {"is_admin", "is_active"}
PASSWORDS = {"password", "current_password"}
OPERATOR = "operator"  # who changes a user by a command


@dataclass(frozen=True)
class _Changed(Announcement):
    """Something of a user was changed, by the user with the id `by` or the operator."""

    user_id: int
    by: int | str


@dataclass(frozen=True)
class UserChanged(_Changed):
    """Fields of a user were changed: their names and, not for the log, the value of each before and after."""

    fields: str
    changes: Mapping[str, tuple[Any, Any]] = field(repr=False)


class AdminGranted(_Changed):
    """A user was made an admin."""


class EmailChangeRequested(_Changed):
    """A user is to get the address `pending_email` once it is verified."""


class AdminRevoked(_Changed):
    """A user is no admin any more."""


class UserActivated(_Changed):
    """A user may log in again."""


class UserDeactivated(_Changed):
    """A user may not log in any more."""


class PasswordChanged(_Changed):
    """A user got a new password."""


_SWITCHED: dict[tuple[str, Any], type[_Changed]] = {
    ("is_admin", True): AdminGranted,
    ("is_admin", False): AdminRevoked,
    ("is_active", True): UserActivated,
    ("is_active", False): UserDeactivated,
}


class NewPassword(NamedTuple):
    """A password to set, and its hash."""

    password: str
    hashed_password: str


class Change(NamedTuple):
    """What is to be changed of a user, and what was done for it before the unit began."""

    user_id: int
    by: Caller
    fields: Mapping[str, Any]  # what a schema let through, passwords included
    version: Version = None
    verified_hash: str | None = None  # the hash that `current_password` was found to have
    new_password: NewPassword | None = None
    verify_email: bool = False  # another address waits until it is verified, unless nobody has come by the present one

    @property
    def own(self) -> bool:
        """Whether the caller changes its own account."""
        return self.user_id == self.by.user.id

    @property
    def needs_current_password(self) -> bool:
        """Whether a stolen token must not be enough: for a new password or another address of one's own."""
        if not self.own:
            return False
        return self.fields.get("password") is not None or _is_other_address(self.by.user.email, self.fields)


def update(db: Session, change: Change) -> UserRow:
    """Change a user and return it as it now is. A new password ends its sessions but the one that made the change.

    Raises:
        ApiError: user_not_found, precondition_failed, not_enough_permissions, current_password_required,
            current_password_incorrect, password_too_common, password_contains_username, password_contains_email,
            last_admin, recent_login_required, username_taken, email_taken, session_ended.
    """
    may_lose_admin = False in (change.fields.get(name) for name in PRIVILEGES)
    user = rules.lock(db, change.user_id, change.version, may_lose_admin=may_lose_admin)
    callers.require_still(db, change.by)
    differing = {
        name: value for name, value in change.fields.items() if name not in PASSWORDS and getattr(user, name) != value
    }
    _authorise(user, change, differing)
    if not differing and change.new_password is None:
        return row_of(user)
    if rules.is_active_admin(user) and False in (differing.get(name) for name in PRIVILEGES):
        rules.require_other_admin(db, user.id)
    if change.verify_email and user.hashed_password != rules.UNUSABLE and _is_other_address(user.email, differing):
        differing["pending_email"] = differing.pop("email")
    before = {name: getattr(user, name) for name in differing}
    user = rules.write(db, user, _fields(user, differing, change.new_password))
    announce_changes(db, change.user_id, change.by.user.id, before, differing)
    if change.new_password is not None:
        announce(db, PasswordChanged(change.user_id, change.by.user.id))
    if not user.is_active:
        sessions.end_all(db, change.user_id, "user deactivated")
    elif change.new_password is not None:
        sessions.end_all(db, change.user_id, "password changed", keep=change.by.session_id if change.own else None)
        if change.own:
            generations.raise_generation(db, change.by, now())
    return row_of(user)


def set_password(db: Session, username: str, new: NewPassword) -> None:
    """Give the user a new password, for the operator, and end all its sessions.

    Raises:
        ApiError: user_not_found, password_too_common, password_contains_username, password_contains_email.
    """
    user = rules.lock_named(db, username)
    rules.write(db, user, _fields(user, {}, new))
    announce(db, PasswordChanged(user.id, OPERATOR))
    sessions.end_all(db, user.id, "password changed")


def promote(db: Session, username: str) -> bool:
    """Make the user an active admin, for the operator; tell whether it was not one already.

    Raises:
        ApiError: user_not_found.
    """
    user = rules.lock_named(db, username)
    before = {name: False for name in PRIVILEGES if not getattr(user, name)}
    after = dict.fromkeys(before, True)
    if after or user.email_verified_at is None:
        verified_at = user.email_verified_at or now()  # the operator's word: else it might be locked out
        rules.write(db, user, {**after, "email_verified_at": verified_at})
    announce_changes(db, user.id, OPERATOR, before, after)
    return bool(after)


def _authorise(user: LockedUser, change: Change, differing: Mapping[str, Any]) -> None:
    """Refuse what the caller may not change, or not without a recent login, or not without the current password.

    The hash is compared with the row's: the password may have changed since it was checked.
    """
    if differing.keys() & PRIVILEGES and not change.by.user.is_admin:
        raise ApiError(ErrorCode.NOT_ENOUGH_PERMISSIONS)
    if _needs_recent_login(change, differing):
        change.by.require_recent_login()
    if change.needs_current_password:
        if change.verified_hash is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_REQUIRED)
        if change.verified_hash != user.hashed_password:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_INCORRECT)


def _fields(user: LockedUser, differing: Mapping[str, Any], new_password: NewPassword | None) -> dict[str, Any]:
    """Return all fields that a change writes: those asked for, and what follows from them."""
    asked = dict(differing)
    if new_password is not None:
        names = (differing.get(name, getattr(user, name)) for name in ("username", "email"))
        refuse(guessable(new_password.password, *names))
        asked["hashed_password"] = new_password.hashed_password
    return {**consequences(user, asked), **asked}


def consequences(user: User | LockedUser, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that follow from changes of others, `hashed_password` and `email_claimed` among them."""
    fields: dict[str, Any] = {}
    if _is_other_address(user.email, changes):
        fields["email_verified_at"] = None
    if "hashed_password" in changes:
        fields["pending_email"] = None  # who asked for another address may be why there is a new password
    if {"username", "email", "email_claimed"} & changes.keys():
        fields |= credentials.keys_after(user, changes)._asdict()
    return fields


def announce_changes(
    db: Session, user_id: int, by: int | str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Announce that fields of a user were changed, from which values to which, and what follows from privileges."""
    if after:
        changes = {name: (before[name], value) for name, value in after.items()}
        announce(db, UserChanged(user_id, by, " ".join(sorted(after)), changes))
    if after.get("pending_email"):
        announce(db, EmailChangeRequested(user_id, by))
    for switch in after.items() & _SWITCHED.keys():
        announce(db, _SWITCHED[switch](user_id, by))


def _needs_recent_login(change: Change, differing: Mapping[str, Any]) -> bool:
    """Tell whether a token that was stolen long after its login must not be enough."""
    if differing.get("is_admin"):
        return True
    if change.own:
        return "username" in differing
    return "email" in differing or change.new_password is not None


def _is_other_address(current: str, fields: Mapping[str, Any]) -> bool:
    """Tell whether a mailbox may be another one: letters beyond ASCII tell two apart, whatever they fold to."""
    email = fields.get("email")
    return email is not None and email.encode().lower() != current.encode().lower()
