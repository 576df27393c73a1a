"""The settings of signing keys, passwords and the login throttle."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from userapi.settings import CoreSettings

MIN_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as its hash

_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|this|it|in)|your[-_ ]?(own[-_ ]?|super[-_ ]?)?(jwt[-_ ]?)?secret|replace[-_ ]?(me|this|with)"
    r"|placeholder|super[-_ ]?secret|(default|dev|insecure)[-_ ]?secret|secret[-_ ]?key[-_ ]?(here|goes)"
    # the key printed in FastAPI's own tutorial
    r"|09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    re.IGNORECASE,
)


class SecuritySettings(CoreSettings):
    """What the operator decides about keys, passwords and wrong ones."""

    secret_key: SecretStr | None = Field(
        None,
        description="Signs the tokens, at least 32 bytes; several, with commas between: the first signs, all verify."
        " On SQLite made at the first start, beside the database file",
    )
    signing_key_files: Annotated[list[str], NoDecode] = Field(
        [],
        description="PEM files of private keys (P-256 or Ed25519) that sign access tokens in place of SECRET_KEY, so"
        " that other services can verify them; with commas between: the first signs, all verify",
    )
    issuer_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="The service's public URL, which access tokens then name as issuer; unset: an id of the database",
    )
    bcrypt_rounds: int = Field(12, ge=4, le=20, description="bcrypt's cost: each step doubles the work of a login")
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
        pattern=r"^(database:$|(redis|rediss|redis\+unix|redis\+cluster)://|redis\+sentinel://[^/]+/\w)",
        description="Where workers or hosts share that: Redis, as `redis://host:6379/0`, or `database:`;"
        " unset: each process alone",
    )

    @field_validator("signing_key_files", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return [path.strip() for path in value.split(",") if path.strip()] if isinstance(value, str) else value

    @field_validator("secret_key")
    @classmethod
    def _strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in split_secrets(value.get_secret_value()) if value else []:
            check_secret(secret)
        return value

    @model_validator(mode="after")
    def _server_needs_secret(self) -> Self:
        if self.secret_key is None and not self.embedded:
            raise ValueError(
                f"SECRET_KEY is required with a server database: set it to {MIN_SECRET_BYTES} or more random bytes"
            )
        return self


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
