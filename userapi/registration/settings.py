"""The settings of registration."""

from pydantic import Field

from userapi.settings import CoreSettings


class RegistrationSettings(CoreSettings):
    """What the operator decides about registration."""

    registration_enabled: bool = Field(False, description="Whether anybody may make an account: POST /register")
    registrations_per_hour: int = Field(20, ge=1, description="How many of them an address may make in an hour")
