"""What a list may be asked for."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from userapi.listing.cursor import BY_ID, BY_MATCHING_NAME, SORTED, Order, Sort, keys_at
from userapi.models import MAX_EMAIL

MAX_ROWS = 2**31 - 1
FAR = 5000  # users before a page, past which its number makes it long


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


OrNone = BeforeValidator(_none_if_empty)  # what a form sends of a field that is left empty


class Filters(BaseModel):
    """The values that columns of `users` must have. A new filter is one line here, and an index of its column and id.

    The filter that fewer users pass as a rule stands before the others.
    """

    is_admin: Annotated[bool | None, OrNone] = None
    is_active: Annotated[bool | None, OrNone] = None


class ListQuery(Filters):
    """Which users to list. An unknown parameter is refused: a filter misspelt would list everybody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(
        1,
        ge=1,
        description="Counted from 1; page times page_size stays below 2^31. The further down, the slower; cursors,"
        " which `Link` has, are as fast at any depth",
    )
    page_size: int = Field(10, ge=1, le=100)
    q: Annotated[str | None, OrNone] = Field(
        None,
        max_length=MAX_EMAIL,
        pattern=r"^[^\x00]*$",
        description="Start of the username or of the e-mail address, in any letter case",
    )
    sort: Sort | None = Field(
        None, description="`-` for descending. Without: by id or, under `q`, by the name that matches"
    )
    after: str | None = Field(
        None, max_length=2048, description="A cursor from `Link`: the users after it, whatever the depth, as fast"
    )
    before: str | None = Field(None, max_length=2048, description="As `after`: the users before a cursor")
    total: bool = Field(False, description="Count them all, in `X-Total-Count`: the more there are, the slower")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.page * self.page_size > MAX_ROWS:
            raise PydanticCustomError("page_out_of_reach", "page times page_size must stay below 2^31")
        if len(self.model_fields_set & {"page", "after", "before"}) > 1:
            raise PydanticCustomError("pages_exclude_each_other", "page, after and before exclude each other")
        if self.cursor is not None:
            keys_at(self.cursor, self.order)
        return self

    @property
    def cursor(self) -> str | None:
        """Return the cursor that the list begins or ends at."""
        return self.before if self.after is None else self.after

    @property
    def order(self) -> Order:
        """Return what the list is sorted by, also where it is read backwards from its end."""
        if self.sort:
            return SORTED[self.sort]
        return BY_MATCHING_NAME if self.q else BY_ID

    @property
    def may_be_long(self) -> bool:
        """Tell whether finding it may go through many users: it counts them, leads far down, or asks for two things."""
        asked = [one for one in (self.q, self.sort, *self.filters) if one]  # each has an index, but no two of them
        return self.total or (self.page - 1) * self.page_size > FAR or len(asked) > 1

    @property
    def filters(self) -> dict[str, bool]:
        """Return the values that are asked for, by the names of their columns."""
        return {name: value for name in Filters.model_fields if (value := getattr(self, name)) is not None}
