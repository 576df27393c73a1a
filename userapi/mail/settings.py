"""The settings of mail."""

from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator

from userapi.settings import CoreSettings


class MailSettings(CoreSettings):
    """What the operator decides about mail."""

    mail_url: SecretStr | None = Field(
        None,
        description="Where mails go: `smtp://user:password@host:587` (STARTTLS, unless `?starttls=never`), `smtps://`,"
        " `file:///dir` (a file each), `console:` (standard output). Unset: `console:`, without notices",
    )
    mail_from: str = Field("userapi <userapi@localhost>", description="The sender of mails, as `Name <address>`")
    app_url: str | None = Field(
        None, pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$", description="Where the links in mails lead: your front end"
    )
    mail_templates: Path | None = Field(
        None, description="A folder of templates that replace those in `userapi/mail/templates`"
    )

    @field_validator("mail_url")
    @classmethod
    def _usable_mail_url(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value() if value else "console:")
        try:
            valid = parts.hostname if parts.scheme in {"smtp", "smtps"} else parts.scheme in {"file", "console"}
            valid = valid and parts.port != 0 and (parts.scheme != "file" or Path(parts.path).is_absolute())
        except ValueError:
            valid = False
        if not valid or parse_qs(parts.query) not in ({}, {"starttls": ["never"]}):
            raise ValueError("is no URL like smtp://user:password@host:587, smtps://..., file:///directory or console:")
        return value

    @field_validator("mail_from")
    @classmethod
    def _one_mailbox(cls, value: str) -> str:
        try:
            valid = value.isprintable() and Address(addr_spec=parseaddr(value)[1]).domain
        except (ValueError, IndexError):
            valid = ""
        if not valid:
            raise ValueError("is no address like: Example <accounts@example.com>")
        return value

    @field_validator("app_url")
    @classmethod
    def _without_slash(cls, value: str | None) -> str | None:
        return value and value.rstrip("/")

    @field_validator("mail_templates")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("is no folder")
        return value
