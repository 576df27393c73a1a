"""What a running service has: opened by `async with`, shared by the application and the commands."""

from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Self

from userapi.capabilities import CAPABILITIES, Settings
from userapi.errors import DatabaseUnavailable
from userapi.first_admin import rules as first_admin
from userapi.kit import logs
from userapi.kit.announcements import Announcement, Announcements
from userapi.kit.database import Database
from userapi.login.flow import Login
from userapi.proof import credentials
from userapi.proof.password_check import PasswordCheck
from userapi.schema import migrations
from userapi.security.hashing import Passwords
from userapi.security.key_file import signing_keys
from userapi.security.key_pairs import key_pairs_of
from userapi.security.keyring import Keyring
from userapi.security.strength import Strength
from userapi.security.throttle import Throttle
from userapi.security.tokens import Tokens
from userapi.sessions.callers import Callers
from userapi.sessions.first_use import FirstUses
from userapi.sessions.issuer import issuer
from userapi.users.preparation import Preparation


class Services:
    """The parts of a running service. Nothing connects, and no key is read, before it is needed."""

    def __init__(self, settings: Settings) -> None:
        """Put the parts together as the settings say."""
        self.settings = settings
        self.announcements = Announcements()
        self.database = Database(settings.url, self.announcements)
        self.callers = Callers(self.database, settings.recent_login_minutes * 60)
        self.first_uses = FirstUses(self.database)
        self.passwords = Passwords(settings.bcrypt_rounds)
        self.strength = Strength(settings.password_min_score, composition=settings.password_composition)
        self.throttle: Throttle | None = None
        if settings.throttle_enabled:
            self.throttle = Throttle(
                settings.throttle_storage_url, settings.forwarded_allow_ips, database=self.database
            )
        self.password_check = PasswordCheck(self.database, self.passwords, self.throttle, self.announcements)
        self.preparation = Preparation(self.database, self.passwords, self.strength, self.password_check)
        self.counts = {name: count for capability in CAPABILITIES for name, count in capability.counts.items()}
        self.announcements.after_commit(Announcement, _log)
        first_admin.listen(self.announcements)
        for capability in CAPABILITIES:
            capability.listen(self)

    @cached_property
    def keyring(self) -> Keyring:
        """Return what digests and seals with keys derived from the signing keys.

        Raises:
            Refusal: As with `tokens`.
        """
        return Keyring(self._keys)

    @cached_property
    def tokens(self) -> Tokens:
        """Return what signs and checks tokens, once the service is prepared.

        Raises:
            Refusal: A key file holds no key that may be used.
        """
        key_pairs = key_pairs_of(self.settings.signing_key_files)
        return Tokens(self._keys, self._issuer, key_pairs, self.settings.issuer_url)

    @cached_property
    def _keys(self) -> list[str]:
        return signing_keys(self.settings)

    @cached_property
    def login(self) -> Login:
        """Return what grants tokens."""
        return Login(self.settings, self.database, self.passwords, self.tokens, self.password_check)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections and threads."""
        self.passwords.close()
        self.strength.close()
        await self.first_uses.close()
        await self.database.close()
        if self.throttle:
            await self.throttle.close()

    async def prepare(self) -> list[str]:
        """Make true what must be true before serving; return what the operator should read, a line each.

        That is: the schema is at head, there is an issuer, a signing key and, on SQLite, a first admin. Several
        processes may do this at once.

        Raises:
            Refusal: The service cannot start.
        """
        settings = self.settings
        with migrations.usable(settings.url):
            if settings.migrate_on_start or (settings.migrate_on_start is None and settings.embedded):
                await migrations.upgrade(self.database)
            await migrations.require_head(self.database)
            self._issuer = await issuer(self.database)
            notes = await first_admin.make_first_admin(settings, self.database, self.passwords, self.strength)
        with suppress(DatabaseUnavailable):  # so many users that it takes too long: it is learned as they log in
            self.passwords.expect(await self.database.read(credentials.dearest_cost))
        assert self.login  # the signing key is read or made now, not at the first login
        return notes


def _log(announcement: Announcement) -> None:
    logs.event(announcement.name, **announcement.told)
