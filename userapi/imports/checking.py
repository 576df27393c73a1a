"""What may be imported: each row is held against the rules of its fields, the other rows and the users there are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from userapi.errors import ApiError
from userapi.imports.staging import Staged, Staging
from userapi.kit.database import Database
from userapi.models import UserImport, UserImportUpdate
from userapi.moving import bulk, foreign
from userapi.moving.bulk import Found
from userapi.moving.foreign import ForeignUserError
from userapi.moving.records import Row
from userapi.proof import credentials
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength


@dataclass(frozen=True)
class Rules:
    """How an import is to be done."""

    update: bool  # whether users that are there already are changed
    make_usernames: bool  # whether a username is made where there is none that may be
    zone: tzinfo  # of times that do not say theirs


class Checker:
    """Takes rows, so many at a time, and keeps them as staged or refused; those that are there already it counts."""

    def __init__(
        self, database: Database, strength: Strength, passwords: Passwords, staging: Staging, rules: Rules
    ) -> None:
        """Check for an import into `database`."""
        self._database, self._strength, self._passwords = database, strength, passwords
        self._staging, self._rules = staging, rules
        self.refused = self.unchanged = 0

    async def take(self, rows: Sequence[Row]) -> None:
        """Check rows and stage them.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        valid: list[tuple[Row, dict[str, Any]]] = []
        for row in rows:
            try:
                valid.append((row, self._valid(row)))
            except ForeignUserError as refusal:
                self._refuse(row, refusal)
        found = await self._database.read(bulk.find, [values for _, values in valid])
        for row, values in valid:
            try:
                await self._stage(row, values, found)
            except ForeignUserError as refusal:
                self._refuse(row, refusal)

    def _refuse(self, row: Row, refusal: ForeignUserError) -> None:
        self.refused += 1
        self._staging.refuse(row, str(refusal))

    def _valid(self, row: Row) -> dict[str, Any]:
        if row.problem is not None:
            raise ForeignUserError(row.problem)
        given = dict(row.values)
        if self._rules.make_usernames and (made := _username(given)):
            given["username"] = made
        return foreign.columns(given, self._rules.zone, UserImportUpdate if self._rules.update else UserImport)

    async def _stage(self, row: Row, values: dict[str, Any], found: Found) -> None:
        name = "id" if "id" in values else "username_key"
        there: Any = found[name].get(values.get(name))
        wanted = values | credentials.keys_after(there, values)._asdict() if there is not None else values
        if there is not None and await self._same(wanted, there):
            self.unchanged += 1
        elif there is not None and self._rules.update:
            _require_free(wanted, found, there.id)
            fields = {name: value for name, value in values.items() if name not in {"id", "username_key", "email_key"}}
            await self._add(row, there.id, fields, {**there._asdict(), **wanted})
        else:
            await self._stage_new(row, values, found)

    async def _stage_new(self, row: Row, values: dict[str, Any], found: Found) -> None:
        if self._rules.update:  # of a new one more is asked than of changes
            values = foreign.columns({**row.values, **values}, self._rules.zone)
        if not {"password", "hashed_password"} & values.keys():
            raise ForeignUserError("hashed_password: there is neither a password nor a hash")
        if self._rules.make_usernames and values["username"] != row.values.get("username"):
            key = values["username_key"]
            if key in found["username_key"] or self._staging.line_of("username_key", key):
                values["username"] = f"{values['username'][: 19 - len(str(row.line))]}_{row.line}"
                values |= bulk.keys(values)
        _require_free(values, found, None)
        await self._add(row, None, foreign.whole(values), values)

    async def _add(self, row: Row, target: int | None, fields: dict[str, Any], user: Mapping[str, Any]) -> None:
        password = fields.pop("password", None)
        if password is not None:
            try:
                await self._strength.require(password, user["username"], user["email"])
            except ApiError as error:
                raise ForeignUserError(f"password: {error}") from None
        if why := self._staging.add(Staged(row.line, target, fields, password), user):
            raise ForeignUserError(why)

    async def _same(self, values: Mapping[str, Any], there: Any) -> bool:
        """Tell whether a user is already as a row would have it: so an import that broke off can be done again."""
        told = values.keys() - {"password", "email_claimed"}
        if any(getattr(there, name) != values[name] for name in told):
            return False
        return "password" not in values or await self._passwords.verify(values["password"], there.hashed_password)


def _require_free(values: Mapping[str, Any], found: Found, user_id: int | None) -> None:
    if code := bulk.taken(found, values, user_id):
        raise ForeignUserError(code.words if values.get("id") not in found["id"] else "id: Another user has it")


def _username(given: Mapping[str, Any]) -> str:
    """Return the username of a row if it may be one, else one that is made of it or of the e-mail address."""
    name = str(given.get("username") or str(given.get("email", "")).partition("@")[0])
    made = re.sub("[^a-zA-Z0-9_]", "_", name)[:20]
    return made if len(made) >= 3 else f"{made}_user"
