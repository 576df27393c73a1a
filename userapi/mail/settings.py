"""The settings of mail."""

from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, DirectoryPath, Field, SecretStr, field_validator

from userapi.settings import CoreSettings

BaseUrl = Annotated[
    str, Field(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$"), AfterValidator(lambda url: url.rstrip("/"))
]


TEMPLATES = Path(__file__).parent / "templates"


def _check_sender(sender: str) -> str:
    """Return a sender as `Name <address>`.

    Raises:
        ValueError: It is none.
    """
    try:
        valid = sender.isprintable() and Address(addr_spec=parseaddr(sender)[1]).domain
    except (ValueError, IndexError):
        valid = ""
    if not valid:
        raise ValueError("is no address like: Example <accounts@example.com>")
    return sender


def _check_url(url: str) -> None:
    """Check that a URL says where mails go.

    Raises:
        ValueError: It does not. It is not repeated, for it may hold a password.
    """
    parts = urlsplit(url)
    try:
        valid = bool(parts.hostname) if parts.scheme in {"smtp", "smtps"} else parts.scheme in {"file", "console"}
        valid = valid and parts.port != 0 and (parts.scheme != "file" or Path(parts.path).is_absolute())
    except ValueError:  # of the port
        valid = False
    if not valid or parts.query not in {"", "starttls=never"}:
        raise ValueError("is no URL like smtp://user:password@host:587, smtps://..., file:///directory or console:")


class MailSettings(CoreSettings):
    """What the operator decides about mail."""

    mail_url: SecretStr | None = Field(
        None,
        description="Where mails go: `smtp://user:password@host:587` (STARTTLS, unless `?starttls=never`), `smtps://`,"
        " `file:///dir` (a file each), `console:` (standard output). Unset: `console:`, without notices",
    )
    mail_from: Annotated[str, AfterValidator(_check_sender)] = Field(
        "userapi <userapi@localhost>", description="The sender of mails, as `Name <address>`"
    )
    app_url: BaseUrl | None = Field(None, description="Where the links in mails lead: the front end")
    mail_templates: DirectoryPath | None = Field(
        None, description="A folder of templates that replace those in `userapi/mail/templates`"
    )

    @field_validator("mail_url")
    @classmethod
    def _usable_mail_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_url(value.get_secret_value())
        return value
