"""The data: one hierarchy that is the tables and the schemas of requests and answers.

A rule about a field stands once, in its named type.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import MISSING, AfterValidator, BeforeValidator, EmailStr, Field
from sqlalchemy import Dialect, Index, String
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.types import TypeEngine
from sqlmodel import Field as Column
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

MAX_ID = 2**31 - 1  # INTEGER on every database
MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
MIN_PASSWORD = 8  # characters
MAX_PASSWORD_BYTES = 72  # all that bcrypt reads

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}


class Timestamp(UTCDateTime):
    """An instant, aware and in UTC, to the microsecond: MySQL keeps no fraction unless asked."""

    cache_ok = True

    def __repr__(self) -> str:
        return "Timestamp()"  # what Alembic writes into a migration

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        if dialect.name != "sqlite":
            return super().result_processor(dialect, coltype)
        return lambda text: None if text is None else datetime.fromisoformat(f"{text}+00:00")  # half the time

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return DATETIME(fsp=6) if dialect.name in {"mysql", "mariadb"} else super().load_dialect_impl(dialect)


def key_type(length: int) -> String:
    """A text column that compares by code point on every database, so that all agree which names are the same."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def canonical(name: str) -> str:
    """The key under which a username or an e-mail address is unique: letter case does not tell two apart."""
    return name.casefold()


def now() -> datetime:
    """The present instant, aware and in UTC."""
    return datetime.now(UTC)


def _key_fits(email: str) -> str:
    if len(canonical(email)) > MAX_EMAIL:  # folding can lengthen: ß becomes ss
        raise ValueError(f"an e-mail address has at most {MAX_EMAIL} characters")
    return email


def _no_truth_value(age: Any) -> Any:
    if isinstance(age, bool):  # pydantic would take true for 1
        raise ValueError("an age is a number")
    return age


def _strong(password: str) -> str:
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has at most {MAX_PASSWORD_BYTES} bytes in UTF-8")
    if not (
        any(character.islower() for character in password)
        and any(character.isupper() for character in password)
        and any(character.isdigit() for character in password)
    ):
        raise ValueError("a password has a lower-case letter, an upper-case letter and a digit")
    return password


UserId = Annotated[int, Field(ge=1, le=MAX_ID)]
Username = Annotated[str, Field(min_length=3, max_length=20, pattern=r"^[a-zA-Z0-9_]+$", examples=["alice"])]
Email = Annotated[EmailStr, Field(max_length=MAX_EMAIL, examples=["alice@example.com"]), AfterValidator(_key_fits)]
Age = Annotated[int, Field(ge=1, le=120, examples=[42]), BeforeValidator(_no_truth_value)]
Password = Annotated[
    str,
    Field(
        min_length=MIN_PASSWORD,
        max_length=MAX_PASSWORD_BYTES,
        pattern=r"^[^\x00]*$",
        examples=["Correct-Horse-7"],
        description=f"{MIN_PASSWORD} characters to {MAX_PASSWORD_BYTES} bytes;"
        " a lower-case letter, an upper-case letter, a digit; not common, not containing the username",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
    AfterValidator(_strong),
]
CurrentPassword = Annotated[
    str,
    Field(
        description="Required to change one's own password or e-mail address",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]


class UserBase(SQLModel):
    """What a user says of itself."""

    username: Username
    email: Email
    age: Age | None = None


class _Identified(SQLModel):
    id: int | None = Column(default=None, primary_key=True)


class _Account(UserBase, _Identified):
    """What the service knows of a user and tells."""

    is_admin: bool = False
    is_active: bool = True
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp)
    updated_at: datetime | None = Column(
        default=None, sa_type=Timestamp, description="Null until the first change, then the time of the last one"
    )


class User(_Account, table=True):
    """A row of `users`; the keys carry the unique indexes."""

    __tablename__: ClassVar[Any] = "users"
    __table_args__: ClassVar[Any] = (
        Index(None, "is_admin", "id"),
        Index(None, "is_active", "id"),
        Index(None, "created_at", "id"),
        {"sqlite_autoincrement": True, "mysql_charset": "utf8mb4", "mysql_engine": "InnoDB"},
    )

    username_key: str = Column(sa_type=key_type(20), unique=True)
    email_key: str = Column(sa_type=key_type(MAX_EMAIL), unique=True)
    hashed_password: str = Column(max_length=100)
    version: int = 1  # grows with every change


class UserPublic(_Account):
    """A user in an answer."""

    model_config = {"json_schema_serialization_defaults_required": True}

    id: int
    email: str  # checked on its way in; checking again costs 100 us a row


class UserRegister(UserBase):
    """A new user that registers itself. `null` for `age` is the same as leaving it out."""

    password: Password


class UserCreate(UserRegister):
    """A new user that an admin makes."""

    is_admin: bool | None = None


class UserUpdate(SQLModel):
    """Changes to a user; what is absent or `null` stays as it is."""

    username: Username | None = None
    email: Email | None = None
    password: Password | None = None
    age: Age | None = None
    is_admin: bool | None = None
    is_active: bool | None = None
    current_password: CurrentPassword | None = None


class UserPatch(SQLModel):
    """Changes to a user as a merge patch (RFC 7396): what is absent stays, `null` clears the age."""

    username: Username | MISSING = MISSING
    email: Email | MISSING = MISSING
    password: Password | MISSING = MISSING
    age: Age | MISSING | None = MISSING
    is_admin: bool | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    current_password: CurrentPassword | MISSING = MISSING


class SessionPublic(SQLModel):
    """A login session in an answer."""

    id: int
    created_at: datetime
    last_used_at: datetime = Field(description="When it was begun or last refreshed")
    expires_at: datetime = Field(description="When it ends unless it is refreshed")
    user_agent: str | None
    ip: str | None
    current: bool = Field(description="Whether this request was made in it")


class LoginSession(SQLModel, table=True):
    """A row of `login_sessions`: one login, alive until the row is deleted or expires."""

    __tablename__: ClassVar[Any] = "login_sessions"
    __table_args__: ClassVar[Any] = {
        "sqlite_autoincrement": True,
        "mysql_charset": "utf8mb4",
        "mysql_engine": "InnoDB",
    }

    id: int | None = Column(default=None, primary_key=True)
    user_id: int = Column(foreign_key="users.id", ondelete="CASCADE", index=True)
    generation: int = 1
    created_at: datetime = Column(default_factory=now, sa_type=Timestamp)
    rotated_at: datetime = Column(default_factory=now, sa_type=Timestamp)
    expires_at: datetime = Column(sa_type=Timestamp, index=True)
    user_agent: str | None = Column(default=None, max_length=255)
    ip: str | None = Column(default=None, max_length=45)
