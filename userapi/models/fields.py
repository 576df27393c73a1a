"""The types of fields and columns: a rule about a field stands here once, and every schema names it."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, EmailStr, Field, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import Dialect, String
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

MAX_ID = 2**31 - 1  # INTEGER on every database
MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
MAX_LOCALE = 35  # RFC 5646 section 4.4.1
MIN_PASSWORD = 8  # characters
MAX_PASSWORD_BYTES = 72  # all that bcrypt reads


class Timestamp(UTCDateTime):
    """An instant, aware and in UTC, to the microsecond: MySQL keeps no fraction unless asked."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return what makes an aware datetime of a database's value; on SQLite in half of SQLModel's time."""
        if dialect.name != "sqlite":
            return super().result_processor(dialect, coltype)
        read = datetime.fromisoformat
        return lambda text: read(text + "+00:00") if text else None

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of a database."""
        return DATETIME(fsp=6) if dialect.name in {"mysql", "mariadb"} else super().load_dialect_impl(dialect)


def key_type(length: int) -> String:
    """Return a text column that compares by code point on every database, so that all agree which names are the same.

    `length` is in characters.
    """
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def canonical(name: str) -> str:
    """Return the key under which a username or an e-mail address is unique: letter case does not tell two apart."""
    return name.casefold()


def now() -> datetime:
    """Return the present instant, aware and in UTC."""
    return datetime.now(UTC)


def _key_fits(email: str) -> str:
    if len(canonical(email)) > MAX_EMAIL:  # folding can lengthen: ß becomes ss
        words = "an e-mail address has at most {max_length} characters"
        raise PydanticCustomError("email_too_long", words, {"max_length": MAX_EMAIL})
    return email


def _named(email: Any, check: Any) -> Any:
    """Give what is no e-mail address a type of its own, for programs to translate."""
    try:
        return check(email)
    except ValidationError as error:
        [found] = error.errors()
        if found["type"] == "value_error":
            raise PydanticCustomError("email_invalid", found["msg"]) from None
        raise


def _plain_number(user_id: Any) -> Any:
    if isinstance(user_id, str) and not re.fullmatch("[1-9][0-9]*", user_id, re.ASCII):  # pydantic takes 1_0 for 10
        raise PydanticCustomError("id_invalid", "an id is a number from 1 on, in digits")
    return user_id


def _no_truth_value(age: Any) -> Any:
    if isinstance(age, bool):  # pydantic would take true for 1
        raise PydanticCustomError("age_invalid", "an age is a number")
    return age


def _hashable(password: str) -> str:
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        words = "a password has at most {max_bytes} bytes in UTF-8"
        raise PydanticCustomError("password_too_long", words, {"max_bytes": MAX_PASSWORD_BYTES})
    return password


Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
UserId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_plain_number)]
Username = Annotated[str, Field(min_length=3, max_length=20, pattern=r"^[a-zA-Z0-9_]+$", examples=["alice"])]
_Address = Annotated[EmailStr, Field(max_length=MAX_EMAIL, examples=["alice@example.com"])]
Email = Annotated[_Address, AfterValidator(_key_fits), WrapValidator(_named)]
Age = Annotated[int, Field(ge=1, le=120, examples=[42]), BeforeValidator(_no_truth_value)]
Locale = Annotated[
    str,
    Field(
        max_length=MAX_LOCALE,
        pattern=r"^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$",
        examples=["de-AT"],
        description="The language of mails, as a tag (BCP 47)",
    ),
]
Password = Annotated[
    str,
    Field(
        min_length=MIN_PASSWORD,
        max_length=MAX_PASSWORD_BYTES,
        pattern=r"^[^\x00]*$",
        examples=["Correct-Horse-7"],
        description=f"{MIN_PASSWORD} characters to {MAX_PASSWORD_BYTES} bytes;"
        " a lower-case letter, an upper-case letter, a digit (or 15 characters, if the service says so);"
        " not easily guessed, not containing the username",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
    AfterValidator(_hashable),
]
HashedPassword = Annotated[str, Field(max_length=255)]  # bcrypt's takes 60, those of other systems more
CurrentPassword = Annotated[
    str,
    Field(
        description="Required to change one's own password or e-mail address",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]
