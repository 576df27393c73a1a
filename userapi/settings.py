"""The service's settings: the only reader of the environment and of `.env`."""

import re
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from userapi.errors import Refusal
from userapi.kit.logs import LogFormat

S = TypeVar("S", bound="CoreSettings")

MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as its hash

_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|this|it|in)|your[-_ ]?(own[-_ ]?|super[-_ ]?)?(jwt[-_ ]?)?secret|replace[-_ ]?(me|this|with)"
    r"|placeholder|super[-_ ]?secret|(default|dev|insecure)[-_ ]?secret|secret[-_ ]?key[-_ ]?(here|goes)"
    # the key printed in FastAPI's own tutorial
    r"|09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    re.IGNORECASE,
)


class SettingsError(Refusal):
    """The settings cannot be used; the message is one readable sentence a line."""


class CoreSettings(BaseSettings):
    """The settings of users and login. Each field is one environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    database_url: str = Field("sqlite:///./userapi.db", description="Where the users are kept")
    secret_key: SecretStr | None = Field(
        None,
        description="Signs the tokens, at least 32 bytes; several, with commas between: the first signs, all verify."
        " On SQLite made at the first start, beside the database file",
    )
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
    bcrypt_rounds: int = Field(12, ge=4, le=20, description="bcrypt's cost: each step doubles the work of a login")
    first_admin_username: str = Field("admin", description="Username of the admin made when there are no users")
    first_admin_email: str = Field("admin@example.com", description="E-mail address of that admin")
    first_admin_password: SecretStr | None = Field(
        None, description="Password of that admin; on SQLite one is generated and shown once"
    )
    password_min_score: int = Field(
        3, ge=0, le=4, description="The estimate that a new password needs, from 0 (any) to 4 (very hard to guess)"
    )
    password_composition: bool = Field(
        True,
        description="Whether a password needs a lower-case letter, an upper-case letter and a digit;"
        " if not, it needs 15 characters",
    )
    throttle_enabled: bool = Field(True, description="Whether wrong passwords lock accounts and addresses for a time")
    throttle_storage_url: str | None = Field(
        None,
        pattern=r"^(redis|rediss|redis\+unix)://",
        description="Redis that workers or hosts share for that, as `redis://host:6379/0`; unset: each process alone",
    )
    log_format: LogFormat = Field("text", description="`text` for people, `json` for machines")
    forwarded_allow_ips: str = Field(
        "", description="Addresses of the proxies whose `X-Forwarded-*` headers are believed, separated by commas"
    )
    migrate_on_start: bool | None = Field(
        None, description="Bring the schema to head before serving; unset: yes on SQLite, no elsewhere"
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        [], description="Origins that browsers may call from, separated by commas; `*` for any"
    )

    docs_enabled: bool = Field(True, description="Whether there are `/docs`, `/redoc` and `/openapi.json`")

    @field_validator("database_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        try:
            url = make_url(value)
        except (ArgumentError, ValueError) as error:
            raise ValueError("is not a database URL like sqlite:///./userapi.db") from error
        backend = url.get_backend_name()
        if backend not in {"sqlite", "postgresql", "postgres", "mysql", "mariadb"}:
            raise ValueError(f"names the database {backend!r}; use sqlite, postgresql, mysql or mariadb")
        return value

    @field_validator("secret_key")
    @classmethod
    def _strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in split_secrets(value.get_secret_value()) if value else []:
            check_secret(secret)
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part for part in re.split(r'[\s,\[\]"]+', value) if part]
        return value

    @model_validator(mode="after")
    def _server_needs_secret(self) -> Self:
        if self.secret_key is None and not self.embedded:
            raise ValueError(
                f"SECRET_KEY is required with a server database: set it to {MIN_SECRET_BYTES} or more random bytes"
            )
        return self

    @property
    def url(self) -> URL:
        """Return the database's URL as typed."""
        return make_url(self.database_url)

    @property
    def embedded(self) -> bool:
        """Whether the database is SQLite, which lives inside the service."""
        return self.url.get_backend_name() == "sqlite"


def split_secrets(secrets: str) -> list[str]:
    """Return the signing keys of a list, the one that signs first."""
    return re.split(r"[,\s]+", secrets.strip(", \n"))


def check_secret(secret: str) -> None:
    """Refuse a signing key that is too short or looks copied.

    Raises:
        ValueError: It is; the message says which.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"is shorter than {MIN_SECRET_BYTES} bytes")
    if len(set(secret)) == 1:
        raise ValueError("is one character over and over, not a secret; make one with: openssl rand -hex 32")
    if _PLACEHOLDER.search(secret):
        raise ValueError("is a placeholder, not a secret; make one with: openssl rand -hex 32")


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
