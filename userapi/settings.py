"""The settings that all have a part in, and the only reader of the environment and of `.env`."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from userapi.errors import Refusal
from userapi.kit.database import parse_url
from userapi.kit.logs import LogFormat

S = TypeVar("S", bound="CoreSettings")


class SettingsError(Refusal):
    """The settings cannot be used; the message is one readable sentence a line."""


class CoreSettings(BaseSettings):
    """What every command needs to know. Each field is one environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    database_url: str = Field("sqlite:///./userapi.db", description="Where the users are kept")
    access_token_expire_minutes: int = Field(30, ge=1, le=1440, description="Lifetime of an access token, in minutes")
    refresh_token_expire_days: int = Field(
        30, ge=1, le=3650, description="A login session ends when it is not refreshed for so many days"
    )
    session_max_days: int = Field(
        90, ge=1, le=3650, description="A login session ends after so many days, refreshed or not"
    )
    recent_login_minutes: int = Field(
        60,
        ge=0,
        le=525_600,
        description="A login may be so old, in minutes, for changes that a stolen token must not make; 0: any age",
    )
    email_verification: Literal["off", "on", "required"] = Field(
        "off",
        description="Whether a new e-mail address must be verified by mail before it counts (`on`), and before whoever"
        " registers may log in (`required`)",
    )
    log_format: LogFormat = Field("text", description="`text` for people, `json` for machines")
    forwarded_allow_ips: str = Field(
        "", description="Addresses of the proxies whose `X-Forwarded-*` headers are believed, separated by commas"
    )
    migrate_on_start: bool | None = Field(
        None, description="Bring the schema to head before serving; unset: yes on SQLite, no elsewhere"
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~-]+)*$",
        description="Path under which a proxy serves this, as `/api`, whether it cuts that off or not",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        [], description="Origins that browsers may call from, separated by commas; `*` for any"
    )
    cors_max_age: int = Field(
        7200, ge=0, le=86_400, description="How long browsers may remember that, in seconds; Chromium's most is 7200"
    )

    docs_enabled: bool = Field(True, description="Whether there are `/docs`, `/redoc` and `/openapi.json`")

    @field_validator("database_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        try:
            url = parse_url(value)
        except (ArgumentError, ValueError) as error:
            raise ValueError("is not a database URL like sqlite:///./userapi.db") from error
        backend = url.get_backend_name()
        if backend not in {"sqlite", "postgresql", "postgres", "mysql", "mariadb"}:
            raise ValueError(f"names the database {backend!r}; use sqlite, postgresql, mysql or mariadb")
        if not re.fullmatch("[0-9]+|none", str(url.query.get("prepare_threshold", "none"))):
            raise ValueError("has a prepare_threshold that is neither a number nor none")
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.rstrip("/") for part in re.split(r'[\s,\[\]"]+', value) if part]
        for part in value:
            if part != "*" and not re.fullmatch(r"[a-z][a-z\d+.-]*://[^/\s]+", part):  # RFC 6454 section 6.2
                raise ValueError("names what is no origin; one is, for instance, https://app.example.com")
        return value

    @property
    def url(self) -> URL:
        """Return the database's URL as typed."""
        return parse_url(self.database_url)

    @property
    def embedded(self) -> bool:
        """Whether the database is SQLite, which lives inside the service."""
        return self.url.get_backend_name() == "sqlite"


def load(kind: type[S]) -> S:
    """Return the settings of a kind, read from the environment and `.env`.

    Raises:
        SettingsError: Some are wrong, a line each. Values are not repeated, for they may be secret.
    """
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors())) from None


def _explain(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{str(item['loc'][0]).upper()}: {message}" if item["loc"] else message
