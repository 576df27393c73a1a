"""The settings of events."""

from pydantic import Field

from userapi.settings import CoreSettings


class EventSettings(CoreSettings):
    """What the operator decides about events."""

    events_days: int = Field(400, ge=1, le=36_500, description="How many days events are kept")
