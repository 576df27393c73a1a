"""Rules of notices: they are written in the unit of what they tell, but for locks, which no unit makes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from sqlmodel import Session

from userapi.errors import DatabaseUnavailable
from userapi.kit import logs
from userapi.kit.announcements import Announcements
from userapi.kit.database import Database
from userapi.mail.rules import Limit, enqueue, may_get
from userapi.models import User, canonical, now
from userapi.notices.settings import NoticeSettings
from userapi.proof.guards import LoginLocked, NewDevice
from userapi.sessions.generations import RefreshReused
from userapi.users.changes import PasswordChanged, UserChanged

ONCE_A_DAY = Limit(timedelta(days=1), 1)
SHOWN = 120  # characters of a user agent

log = logging.getLogger(__name__)


class _Services(Protocol):
    """What is needed here of a running service."""

    @property
    def settings(self) -> NoticeSettings: ...

    @property
    def announcements(self) -> Announcements: ...

    @property
    def database(self) -> Database: ...


def listen(services: _Services) -> None:
    """Write the notices that the settings ask for, each in the unit of what it tells."""
    listeners: dict[str, tuple[type[Any], Callable[[Session, Any], None]]] = {
        "password_changed": (PasswordChanged, _password_changed),
        "email_changed": (UserChanged, _user_changed),
        "new_device": (NewDevice, _new_device),
        "refresh_token_reused": (RefreshReused, _refresh_reused),
    }
    for name, (kind, listener) in listeners.items():
        if _wanted(services, name):
            services.announcements.inside_unit(kind, listener)


@asynccontextmanager
async def watching(services: _Services) -> AsyncIterator[None]:
    """Write the notices of locks beside the logins, which must take the same time whether there is such an account."""
    writing: set[asyncio.Task[None]] = set()

    async def write(user_id: int) -> None:
        try:
            await services.database.write(_account_locked, user_id)
        except DatabaseUnavailable:
            log.warning("user %d is not told of the lock", user_id)

    def note(locked: LoginLocked) -> None:
        if locked.user_id is None:
            return
        task = asyncio.get_running_loop().create_task(write(locked.user_id))
        writing.add(task)
        task.add_done_callback(writing.discard)

    if _wanted(services, "account_locked"):
        services.announcements.after_commit(LoginLocked, note)
    yield
    await asyncio.gather(*writing)


def _wanted(services: _Services, name: str) -> bool:
    """Tell whether a notice is sent: none is as long as nobody has said where mails go."""
    return services.settings.mail_url is not None and name in services.settings.mail_notices


def _account_locked(db: Session, user_id: int) -> None:
    """Tell a user, at most once a day, that wrong passwords have locked the account."""
    user = db.get(User, user_id)
    if user is not None and user.is_active and may_get(db, user, "account_locked", ONCE_A_DAY):
        enqueue(db, "account_locked", user, details={"at": _at()})


def _password_changed(db: Session, changed: PasswordChanged) -> None:
    _tell(db, "password_changed", changed.user_id, by_owner=changed.by == changed.user_id, ip=logs.address.get())


def _user_changed(db: Session, changed: UserChanged) -> None:
    """Tell both addresses that an account has another one."""
    if "email" not in changed.changes:
        return
    by_owner = changed.by == changed.user_id
    before, new = changed.changes["email"]
    for to in {canonical(to): to for to in (before, new)}.values():
        _tell(db, "email_changed", changed.user_id, to=to, by_owner=by_owner, new=new, ip=logs.address.get())


def _new_device(db: Session, seen: NewDevice) -> None:
    agent = "".join(letter if letter.isprintable() else " " for letter in seen.user_agent or "")
    _tell(db, "new_device", seen.user_id, ip=seen.ip, user_agent=agent[:SHOWN])


def _refresh_reused(db: Session, reused: RefreshReused) -> None:
    _tell(db, "refresh_token_reused", reused.user_id, ip=reused.ip, session_ip=reused.session_ip)


def _tell(db: Session, kind: str, user_id: int, *, to: str | None = None, **details: Any) -> None:
    enqueue(db, kind, db.get_one(User, user_id), to=to, details={"at": _at(), **details})


def _at() -> str:
    return f"{now():%Y-%m-%d %H:%M} UTC"
