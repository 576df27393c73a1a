"""What is done before a unit that writes a user: bcrypt and the estimate take too long to wait for inside it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from userapi.errors import ApiError, refuse
from userapi.kit.database import Database
from userapi.kit.web.client import Client
from userapi.models import UserCreate, UserRegister
from userapi.proof.password_check import PasswordCheck
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.sessions.rules import Caller
from userapi.users import rules
from userapi.users.changes import Change, NewPassword
from userapi.users.rules import Version


class Preparation:
    """Checks and hashes passwords before users are made or changed."""

    verify_email = False  # a capability that verifies addresses sets it

    def __init__(self, database: Database, passwords: Passwords, strength: Strength, check: PasswordCheck) -> None:
        """Hash with `passwords`, refuse by `strength`, and prove current passwords with `check`."""
        self._database, self._passwords, self._strength, self._check = database, passwords, strength, check

    async def user(
        self,
        new: UserRegister,
        client: Client,
        admit: Callable[[], Awaitable[None]] | None = None,
        *,
        email: bool = True,
    ) -> str:
        """Return the hash of a new user's password; `admit` may refuse before anything is hashed.

        What is wrong is told before the password costs anything; the unique index decides on the names in the end.
        Without `email` it is not told here that the address is taken.

        Raises:
            ApiError: What `Strength.require` says, username_taken, email_taken; overloaded, database_unavailable.
        """
        names, found = new.model_dump(include={"username", "email"} if email else {"username"}), list[ApiError]()
        invited = isinstance(new, UserCreate) and new.send_invitation and not new.password
        if not invited:
            found = self._strength.form(new.password)
            found += await self._strength.guessable(new.password, new.username, new.email)
        refuse(found + await self._database.read(rules.taken, names))
        if admit is not None:
            await admit()
        if invited:
            return rules.UNUSABLE
        return await self._passwords.hash(new.password, client)

    async def change(
        self, caller: Caller, user_id: int, fields: Mapping[str, Any], version: Version, client: Client
    ) -> Change:
        """Return a change of a user, with what it needs of bcrypt: the proof of the current password, the new hash.

        Whether names are taken is for the unit to say, after other refusals; here it is told beside what is wrong.

        Raises:
            ApiError: What `Strength.require` says of the new password, current_password_required,
                current_password_incorrect; too_many_attempts, overloaded, database_unavailable, user_not_found.
        """
        change, found = Change(user_id, caller, fields, version, verify_email=self.verify_email), list[ApiError]()
        password = fields.get("password")
        if password:
            found += self._strength.form(password)
        if change.needs_current_password:
            try:
                verified_hash = await self._check.prove(caller, fields.get("current_password"), client)
            except ApiError as error:
                if error.code.field is None:
                    raise
                found.append(error)
            else:
                change = change._replace(verified_hash=verified_hash)
        if password:
            user = caller.user if change.own else await self._database.read(rules.find, user_id)
            names = fields.get("username") or user.username, fields.get("email") or user.email
            found += await self._strength.guessable(password, *names)
        if found:
            names_told = {**fields, "email": None} if self.verify_email else fields
            refuse(found + await self._database.read(rules.taken, names_told, user_id))
        if password:
            new_password = NewPassword(password, await self._passwords.hash(password, client))
            change = change._replace(new_password=new_password)
        return change
