"""The settings of mail."""

from typing import Annotated

from pydantic import AfterValidator, DirectoryPath, Field, SecretStr, field_validator

from userapi.kit.mail.rendering import check_sender
from userapi.kit.mail.transports import check_url
from userapi.settings import CoreSettings

BaseUrl = Annotated[
    str, Field(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$"), AfterValidator(lambda url: url.rstrip("/"))
]


class MailSettings(CoreSettings):
    """What the operator decides about mail."""

    mail_url: SecretStr | None = Field(
        None,
        description="Where mails go: `smtp://user:password@host:587` (STARTTLS, unless `?starttls=never`), `smtps://`,"
        " `file:///dir` (a file each), `console:` (standard output). Unset: `console:`, without notices",
    )
    mail_from: Annotated[str, AfterValidator(check_sender)] = Field(
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
            check_url(value.get_secret_value())
        return value
