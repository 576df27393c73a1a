"""A password is checked against an account: in turn, counted by the throttle, and in the same time for nobody."""

from dataclasses import dataclass

from userapi.errors import ApiError, ErrorCode
from userapi.kit.announcements import Announcement, Announcements
from userapi.kit.database import Database
from userapi.kit.web.client import Client
from userapi.models import now
from userapi.proof import credentials, guards
from userapi.proof.credentials import Credentials
from userapi.proof.guards import LoginLocked
from userapi.security import throttle
from userapi.security.hashing import Passwords
from userapi.security.throttle import Budget, Throttle
from userapi.sessions.rules import Caller


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
        counting: Throttle | None,
        announcements: Announcements,
    ) -> None:
        """Check without counting failures if `counting` is None."""
        self._database, self._passwords, self._throttle = database, passwords, counting
        self._announcements = announcements

    async def credentials(self, login: str, password: str, client: Client) -> Credentials | None:
        """Return the credentials of the active user with this name or address and password; None, if one is wrong.

        Raises:
            ApiError: too_many_attempts, overloaded, database_unavailable.
        """
        found = await self._database.read(credentials.find, login)
        await self._admit(found, login, client)
        account = throttle.strangers(found and found.user_id, login).key
        async with self._passwords.turn(client, account):
            budget = await self._admit(found, login, client)  # it may have been locked while this one waited
            # Whoever is inactive is nobody here: a no takes the same time for both, whatever the password.
            right = await self._passwords.verify(password, found.hashed_password if found and found.is_active else None)
            right, locked = right and found is not None and found.is_active, 0
            if self._throttle is not None:
                if right and found is not None:
                    await self._throttle.forgive(account, throttle.known_devices(found.user_id).key)
                else:
                    locked = await self._throttle.fail(budget, client.ip)
        if not right:
            self._announcements.tell(LoginFailed(found and found.user_id, client.ip))
        if locked:
            self._announcements.tell(LoginLocked(found and found.user_id, locked, client.ip))
        return found if right else None

    async def is_new_device(self, found: Credentials, client: Client) -> bool:
        """Tell whether a user has never logged in from this device, if it can be told from others."""
        return client.ip is not None and not await self._database.read(guards.is_known, found.user_id, client)

    async def prove(self, caller: Caller, current_password: str | None, client: Client) -> str:
        """Return the hash that the caller's current password was found to have.

        Guesses have a budget of their own, which the database keeps for all processes: neither strangers at the login
        nor a thief of a token use up what the other has.

        Raises:
            ApiError: current_password_required, current_password_incorrect, too_many_attempts, overloaded,
                database_unavailable.
        """
        if current_password is None:
            raise ApiError(ErrorCode.CURRENT_PASSWORD_REQUIRED)
        user_id, username = caller.user.id, caller.user.username
        async with self._passwords.turn(client, throttle.strangers(user_id, username).key):
            found = await self._database.read(credentials.find, username)
            if self._throttle is not None and (seconds := await self._database.write(guards.guess, user_id, now())):
                self._announcements.tell(LoginThrottled(user_id, client.ip))
                raise ApiError(ErrorCode.TOO_MANY_ATTEMPTS, retry_after=seconds)
            hashed = found.hashed_password if found is not None and found.user_id == user_id else None
            right = await self._passwords.verify(current_password, hashed)
        if not right or hashed is None:
            self._announcements.tell(LoginFailed(user_id, client.ip))
            raise ApiError(ErrorCode.CURRENT_PASSWORD_INCORRECT)
        if self._throttle is not None:
            await self._database.write(guards.forgive_guesses, user_id)
        return hashed

    async def _admit(self, found: Credentials | None, login: str, client: Client) -> Budget:
        """Return the budget that an attempt is counted on: the strangers', or that of the account's known devices.

        For an account and for nobody, and locked or not, the database is asked the same.
        """
        budget = throttle.strangers(found and found.user_id, login)
        if self._throttle is None or not (seconds := await self._throttle.wait(budget, client.ip)):
            return budget
        user_id = found.user_id if found is not None else 0  # which nobody has
        devices = throttle.known_devices(user_id)
        keys = [budget.key, devices.key, *([throttle.address_key(client.ip)] if client.ip else [])]
        for key, at in await self._database.read(guards.unlocked, keys):
            await self._throttle.lift(key, (now() - at).total_seconds())
        known = await self._database.read(guards.is_known, user_id, client)
        if not (seconds := await self._throttle.wait(budget, client.ip)):
            return budget
        if known and not (seconds := await self._throttle.wait(devices)):
            return devices
        self._announcements.tell(LoginThrottled(found and found.user_id, client.ip))
        raise ApiError(ErrorCode.TOO_MANY_ATTEMPTS, retry_after=seconds)
