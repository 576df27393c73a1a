"""A password is checked against an account: in turn, counted by the throttle, and in the same time for nobody."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, Announcements
from userapi.kit.database import Database
from userapi.kit.web.client import Client
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.security.throttle import Throttle
from userapi.sessions.rules import Caller
from userapi.users import rules
from userapi.users.changes import Change, NewPassword
from userapi.users.rules import Credentials, Version


@dataclass(frozen=True)
class LoginThrottled(Announcement):
    """An attempt was refused before its password was looked at.

    The name that was typed is not told, here and below: where it is nobody's, it may well be a password.
    """

    user_id: int | None
    ip: str | None


@dataclass(frozen=True)
class LoginFailed(Announcement):
    """A password was wrong, or that of nobody, or of an inactive user."""

    user_id: int | None
    ip: str | None


class PasswordCheck:
    """Checks passwords: between the statements of the database stands bcrypt, so this is no unit of work."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        strength: Strength,
        throttle: Throttle | None,
        announcements: Announcements,
    ) -> None:
        """Check without counting failures if `throttle` is None."""
        self._database, self._passwords, self._throttle = database, passwords, throttle
        self._strength, self._announcements = strength, announcements

    async def credentials(self, login: str, password: str, client: Client) -> Credentials | None:
        """Return the credentials of the active user with this name or address and password; None, if one is wrong.

        Raises:
            ApiError: too_many_attempts, overloaded, database_unavailable.
        """
        found = await self._database.read(rules.credentials, login)
        user_id = found and found.user_id
        await self._admit(login, user_id, client)
        async with self._passwords.turn():
            await self._admit(login, user_id, client)  # it may have been locked while this one waited for its turn
            # Whoever is inactive is nobody here: a no takes the same time for both, whatever the password.
            right = await self._passwords.verify(password, found.hashed_password if found and found.is_active else None)
            right = right and found is not None and found.is_active
            if self._throttle is not None:
                await (self._throttle.forgive(login) if right else self._throttle.fail(login, client.ip))
        if not right:
            self._announcements.tell(LoginFailed(user_id, client.ip))
        return found if right else None

    async def prepare_change(
        self, caller: Caller, user_id: int, fields: Mapping[str, Any], version: Version, client: Client
    ) -> Change:
        """Return a change of a user, with what it needs of bcrypt: the proof of the current password, the new hash.

        Raises:
            ApiError: current_password_required, current_password_incorrect, too_many_attempts, overloaded,
                database_unavailable, user_not_found, and what `Strength.require` says of the new password.
        """
        change = Change(user_id, caller, fields, version)
        password = fields.get("password")
        if password:
            self._strength.require_form(password)
        if change.needs_current_password:
            change = change._replace(verified_hash=await self._prove(caller, fields.get("current_password"), client))
        if password:
            user = caller.user if change.own else await self._database.read(rules.find, user_id)
            names = fields.get("username") or user.username, fields.get("email") or user.email
            await self._strength.require(password, *names)
            change = change._replace(new_password=NewPassword(password, await self._passwords.hash(password)))
        return change

    async def _prove(self, caller: Caller, current_password: str | None, client: Client) -> str:
        """Return the hash that the caller's current password was found to have."""
        if current_password is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_REQUIRED)
        found = await self.credentials(caller.user.username, current_password, client)
        if found is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_INCORRECT)
        return found.hashed_password

    async def _admit(self, login: str, user_id: int | None, client: Client) -> None:
        try:
            if self._throttle is not None:
                await self._throttle.check(login, client.ip)
        except ApiError:
            self._announcements.tell(LoginThrottled(user_id, client.ip))
            raise
