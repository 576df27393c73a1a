"""What may be asked of the lists of events."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from userapi.events.models import EventName
from userapi.listing.query import OrNone
from userapi.models import Instant, UserId


class ActivityQuery(BaseModel):
    """Which events of one user to list. An unknown parameter is refused: a filter misspelt would list everything."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[EventName | None, OrNone] = Field(None, description="Only events of this name")
    since: Annotated[Instant | None, OrNone] = Field(None, description="Only events from this instant on")
    until: Annotated[Instant | None, OrNone] = Field(None, description="Only events before this instant")
    page_size: int = Field(10, ge=1, le=100)
    after: str | None = Field(None, max_length=200, description="A cursor from `Link`: the older events after it")


class EventQuery(ActivityQuery):
    """Which events to list."""

    user_id: Annotated[UserId | None, OrNone] = Field(None, description="Only what is about this user")
    actor_id: Annotated[UserId | Literal["operator"] | None, OrNone] = Field(
        None, description="Only what this user did, or a command"
    )

    @property
    def may_be_long(self) -> bool:
        """Tell whether finding it may go through many events: one of these is found by an index, others are not."""
        return [self.name, self.user_id, self.actor_id].count(None) < 2
