"""A user as another system describes it becomes the columns of one here."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from pydantic import ValidationError

from userapi.kit.commands import broken_rules
from userapi.models import UserImport, UserImportUpdate
from userapi.moving import bulk
from userapi.security import foreign_hashes

HIGHEST_ID = 2_000_000_000  # that is taken over: the users after it get higher ones, below 2**31
TIMES = ("created_at", "updated_at", "email_verified_at")


class ForeignUserError(Exception):
    """A user cannot be taken over; the message says why, and `fields` are those that are wrong."""

    def __init__(self, words: str, *fields: str) -> None:
        """Raise it with the words for the operator: no password and no hash is among them."""
        super().__init__(words)
        self.fields = fields


def columns(
    given: Mapping[str, Any], zone: tzinfo, schema: type[UserImport | UserImportUpdate] = UserImport
) -> dict[str, Any]:
    """Return what is given as columns of a user, with its keys, and a plain password beside them.

    Times that do not say their zone are of `zone`.

    Raises:
        ForeignUserError: A rule of a field is broken.
    """
    try:
        valid = schema.model_validate(given)
    except ValidationError as error:
        raise ForeignUserError(broken_rules(error), *(str(item["loc"][0]) for item in error.errors())) from None
    values = {name: getattr(valid, name) for name in schema.model_fields if name in given}
    for name in TIMES:
        if name in values:
            values[name] = _instant(values[name], zone, name)
    if values.get("id", 0) > HIGHEST_ID:
        raise ForeignUserError(f"id: at most {HIGHEST_ID} is taken over, for the users that come after it", "id")
    if "hashed_password" in values:
        values["hashed_password"] = foreign_hashes.spelled_plainly(values["hashed_password"])
    _check_passwords(values.get("password"), values.get("hashed_password"))
    if "email_claimed" in values and not {"username", "email"} <= values.keys():
        raise ForeignUserError("email_claimed: is told with the username and the address", "email_claimed")
    return values | bulk.keys(values)


def whole(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all columns of a new user: what is not given is as in a user that is made now."""
    usual = {
        name: field.get_default(call_default_factory=True)
        for name, field in UserImport.model_fields.items()
        if name not in {"id", "password", "hashed_password"} and not field.is_required()
    }
    columns = {**usual, **values, "version": 1}
    del columns["email_claimed"]  # the key of the address says it
    return columns


def _check_passwords(password: str | None, hashed_password: str | None) -> None:
    if hashed_password is not None:
        if why := foreign_hashes.refusal(hashed_password):
            raise ForeignUserError(f"hashed_password: {why}", "hashed_password")
        if password is not None:
            raise ForeignUserError("password: there is a hash, too: give one of them", "password")
    elif password is not None and foreign_hashes.refusal(foreign_hashes.spelled_plainly(password)) is None:
        raise ForeignUserError("password: is a hash: call its column hashed_password", "password")


def _instant(value: datetime, zone: tzinfo, name: str) -> datetime:
    try:
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ForeignUserError(f"{name}: no time that can be kept", name) from None
