"""Users: the table and the schemas of requests and answers."""

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import MISSING, Field
from sqlalchemy import Index
from sqlmodel import Field as Column
from sqlmodel._compat import SQLModelConfig

from userapi.models.base import TABLE_OPTIONS, Model
from userapi.models.fields import (
    MAX_EMAIL,
    Age,
    CurrentPassword,
    Email,
    HashedPassword,
    Locale,
    Password,
    Timestamp,
    UserId,
    Username,
    key_type,
    now,
)


class UserBase(Model):
    """What a user says of itself."""

    username: Username
    email: Email
    age: Age | None = None
    locale: Locale | None = None


class _Identified(Model):
    id: int | None = Column(default=None, primary_key=True)


class _Account(UserBase, _Identified):
    """What the service knows of a user and tells."""

    is_admin: bool = False
    is_active: bool = True
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp)
    updated_at: datetime | None = Column(
        default=None, sa_type=Timestamp, description="Null until the first change, then the time of the last one"
    )
    email_verified_at: datetime | None = Column(
        default=None, sa_type=Timestamp, description="When it was proved that the user reads mail there; null: never"
    )
    pending_email: str | None = Column(
        default=None, max_length=MAX_EMAIL, description="The address that takes the other's place once it is verified"
    )


class User(_Account, table=True):
    """A row of `users`; the keys carry the unique indexes."""

    __tablename__: ClassVar[Any] = "users"
    __table_args__: ClassVar[Any] = (
        Index(None, "is_admin", "id"),
        Index(None, "is_active", "id"),
        Index(None, "created_at", "id"),
        TABLE_OPTIONS,
    )

    username_key: str = Column(sa_type=key_type(20), unique=True)
    email_key: str = Column(sa_type=key_type(MAX_EMAIL), unique=True)
    hashed_password: HashedPassword
    version: int = 1  # grows with every change
    logged_in_at: datetime | None = Column(default=None, sa_type=Timestamp)  # with a password, the last time


class UserPublic(_Account):
    """A user in an answer."""

    model_config = SQLModelConfig(json_schema_serialization_defaults_required=True)

    id: int
    email: str  # checked on its way in; checking again costs 100 us a row


class UserListed(UserPublic):
    """A user in a list, with the version that a change by `If-Match` names: its `ETag` is that in quotes."""

    version: int


class UserRegister(UserBase):
    """A new user that registers itself. `null` for `age` is the same as leaving it out."""

    password: Password


class UserCreate(UserRegister):
    """A new user that an admin makes: with a password, or with an invitation, which lets the user set one."""

    password: Password = Field(default_factory=str)
    is_admin: bool | None = None
    email_verified: bool | None = Field(None, description="Whether the address counts as verified")
    send_invitation: bool | None = Field(None, description="Send a mail by which the user sets the password")


class UserUpdate(Model):
    """Changes to a user; what is absent or `null` stays as it is."""

    username: Username | None = None
    email: Email | None = None
    password: Password | None = None
    age: Age | None = None
    locale: Locale | None = None
    is_admin: bool | None = None
    is_active: bool | None = None
    current_password: CurrentPassword | None = None


class UserImport(_Account):
    """A new user as another system gives it: what is absent is as in a user that is made now."""

    id: UserId | None = None
    password: Password | None = None
    hashed_password: HashedPassword | None = None
    pending_email: Email | None = None
    email_claimed: bool | None = None  # the address is theirs who verify it


class UserImportUpdate(UserUpdate):
    """Changes to a user as another system gives them; the user is that of the id, or else of the username.

    `updated_at` is not among them: it is the time of this change.
    """

    id: UserId | None = None
    hashed_password: HashedPassword | None = None
    created_at: datetime | None = None
    email_verified_at: datetime | None = None
    pending_email: Email | None = None
    email_claimed: bool | None = None


class UserPatch(Model):
    """Changes to a user as a merge patch (RFC 7396): what is absent stays, `null` clears the age or the locale."""

    username: Username | MISSING = MISSING
    email: Email | MISSING = MISSING
    password: Password | MISSING = MISSING
    age: Age | MISSING | None = MISSING
    locale: Locale | MISSING | None = MISSING
    is_admin: bool | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    current_password: CurrentPassword | MISSING = MISSING


PUBLIC_FIELDS = tuple(UserPublic.model_fields)
_KEPT_FIELDS = ("username_key", "email_key", "hashed_password")

if TYPE_CHECKING:

    class UserRow(UserPublic):
        """The public fields of a user as they were read, and the version that they are of."""

        version: int
        _fields: ClassVar[tuple[str, ...]]

        @classmethod
        def _make(cls, columns: Iterable[Any]) -> Self: ...

    class LockedUser(UserRow):
        """A user as a unit that changes it has locked it."""

        username_key: str
        email_key: str
        hashed_password: str

        def _replace(self, **fields: Any) -> Self: ...

else:
    from collections import namedtuple

    # For type checkers models, at run time tuples of the same names: to build a model costs 80 us a row.
    UserRow = namedtuple("UserRow", (*PUBLIC_FIELDS, "version"))
    LockedUser = namedtuple("LockedUser", (*UserRow._fields, *_KEPT_FIELDS))

USER_ROW: list[Any] = [getattr(User, name) for name in UserRow._fields]  # the columns of a UserRow
LOCKED_USER: list[Any] = [getattr(User, name) for name in LockedUser._fields]
_fields_of = attrgetter(*UserRow._fields)


def row_of(user: User | LockedUser) -> UserRow:
    """Return a user of a unit as a row, which may leave the unit."""
    return UserRow._make(_fields_of(user))
