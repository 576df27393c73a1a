"""The settings of notices."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from userapi.mail.settings import MailSettings

NOTICES = ["password_changed", "email_changed", "new_device", "refresh_token_reused", "account_locked"]


class NoticeSettings(MailSettings):
    """What the operator decides about notices."""

    mail_notices: Annotated[list[str], NoDecode] = Field(
        NOTICES,
        description="Which notices owners of accounts get, separated by commas; `none` for none."
        " There are none while `MAIL_URL` is unset",
    )

    @field_validator("mail_notices", mode="before")
    @classmethod
    def _known_notices(cls, value: str | list[str]) -> list[str]:
        named = value.split(",") if isinstance(value, str) else value
        kinds = [kind.strip() for kind in named if kind.strip() not in {"", "none"}]
        if unknown := set(kinds) - set(NOTICES):
            raise ValueError(f"names {', '.join(sorted(unknown))}; there are {', '.join(NOTICES)}")
        return kinds
