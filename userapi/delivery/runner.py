"""The runner: beside the requests of each process it sends what waits in the outbox."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from userapi.delivery import outbox
from userapi.delivery.rendering import Renderer
from userapi.delivery.transports import refused, told, transport
from userapi.errors import DatabaseUnavailable
from userapi.kit.announcements import Announcements
from userapi.kit.database import Database
from userapi.mail.models import OutboxMail
from userapi.mail.rules import MailQueued
from userapi.mail.settings import TEMPLATES, MailSettings
from userapi.models import now
from userapi.security.keyring import Keyring

AT_ONCE = 4  # mails that a process sends at a time
WAKE_SECONDS = 0.1  # from a commit to a look at what it has written
POLL_SECONDS = 5  # between looks at what other processes have written
STOP_SECONDS = 5  # that the end of the process waits for mails on their way
CLEAN_SECONDS = 3600
HERE = "http://localhost:8000"  # where links lead if nobody says

log = logging.getLogger(__name__)


class _Services(Protocol):
    """What is needed here of a running service."""

    @property
    def settings(self) -> MailSettings: ...

    @property
    def database(self) -> Database: ...

    @property
    def announcements(self) -> Announcements: ...

    @property
    def keyring(self) -> Keyring: ...


@asynccontextmanager
async def running(services: _Services) -> AsyncIterator[None]:
    """Send mails as long as this is open; at the end, wait a little for those on their way."""
    runner = Runner(services)
    task = asyncio.create_task(runner.run())
    yield
    task.cancel()
    if runner.sending:
        _, late = await asyncio.wait(runner.sending, timeout=STOP_SECONDS)
        for one in late:  # whoever comes after us sends it again
            one.cancel()


class Runner:
    """Sends mails, a few at a time, and looks for more when one is put in the outbox, is due, or may be there."""

    def __init__(self, services: _Services) -> None:
        """Prepare to send as the settings say; nothing is sent before `run`."""
        settings = services.settings
        self._database, self._keyring, self._app_url = services.database, services.keyring, settings.app_url
        self._send = transport(settings.mail_url.get_secret_value() if settings.mail_url else "console:")
        folders = [folder for folder in (settings.mail_templates, TEMPLATES) if folder is not None]
        self._renderer = Renderer(folders, settings.mail_from)
        self._wake = asyncio.Event()
        self.sending: set[asyncio.Task[None]] = set()
        self._clean_at = 0.0
        services.announcements.after_commit(MailQueued, lambda _: self._wake_soon())

    async def run(self) -> None:
        """Send what waits until cancelled. Whatever goes wrong is logged, and the next round comes."""
        while True:
            self._wake.clear()
            pause: float = POLL_SECONDS
            try:
                pause = await self._round()
            except DatabaseUnavailable:
                pass  # `Database` has logged it
            except Exception:
                log.exception("the outbox could not be looked through")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _round(self) -> float:
        """Begin to send what is due; return the seconds until there may be more."""
        if time.monotonic() > self._clean_at:
            self._clean_at = time.monotonic() + CLEAN_SECONDS
            await self._database.write(outbox.clean)
        free = AT_ONCE - len(self.sending)
        due = await self._database.read(outbox.next_due) if free else None
        if due is None or due > now():
            return min(POLL_SECONDS, (due - now()).total_seconds()) if due else POLL_SECONDS
        for mail in await self._database.write(outbox.claim, free):
            task = asyncio.create_task(self._try(mail))
            self.sending.add(task)
            task.add_done_callback(self._sent)
        return 0

    def _wake_soon(self) -> None:
        """Let the answer to who asked for the mail go first: its time must not tell whether one is sent."""
        asyncio.get_running_loop().call_later(WAKE_SECONDS, self._wake.set)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self.sending.discard(task)
        self._wake.set()

    async def _try(self, mail: OutboxMail) -> None:
        """Try to send a mail once, and write down what came of it."""
        unsealed = self._keyring.unseal(mail.secret) if mail.secret else "{}"
        if unsealed is None:
            gone = "the secret key is gone that sealed it"
            return await self._write_down(outbox.mark_failed, mail, gone, final=True)
        secret, details = json.loads(unsealed), json.loads(mail.details)
        values = {**details, **secret, "app_url": self._app_url or details.get("app_url") or HERE}
        try:
            message = self._renderer.message(
                mail.kind, mail.recipient or "", mail.locale, values, mail.message_id, mail.created_at
            )
            async with asyncio.timeout(outbox.SEND_SECONDS):
                await self._send(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the mail is not lost
            await self._write_down(outbox.mark_failed, mail, told(error, secret=bool(secret)), final=refused(error))
        else:
            await self._write_down(outbox.mark_sent, mail)

    async def _write_down(self, rule: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Insist as long as the mail is ours: one that was sent and not marked would be sent again."""
        deadline = time.monotonic() + outbox.LEASE.total_seconds() - outbox.SEND_SECONDS
        while True:
            try:
                return await self._database.write(rule, *args, **kwargs)
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    return None
            await asyncio.sleep(POLL_SECONDS)
