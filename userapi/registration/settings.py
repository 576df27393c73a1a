"""The settings of registration."""

from pydantic import Field

from userapi.settings import CoreSettings


class RegistrationSettings(CoreSettings):
    """What the operator decides about registration."""

    registration_enabled: bool = Field(False, description="Whether anybody may make an account: POST /register")
