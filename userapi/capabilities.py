"""The one list of what the service can do beyond users and login: here a capability is plugged in, or left out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import click
from fastapi import APIRouter

from userapi.first_admin.settings import FirstAdminSettings
from userapi.health import routes as health
from userapi.invitation import pages as invitation_pages
from userapi.invitation import rules as invitation
from userapi.mail import commands as mail
from userapi.mail import runner
from userapi.notices import rules as notices
from userapi.notices.settings import NoticeSettings
from userapi.recovery import pages as recovery
from userapi.registration import routes as registration
from userapi.registration.settings import RegistrationSettings
from userapi.security.settings import SecuritySettings
from userapi.verification import pages as verification_pages
from userapi.verification import rules as verification


class Settings(FirstAdminSettings, NoticeSettings, RegistrationSettings, SecuritySettings):
    """All settings: a room that has some is one of the bases here."""


@dataclass(frozen=True)
class Capability:
    """What a folder gives the service; all of it may be left out."""

    name: str
    routers: Callable[[Settings], Sequence[APIRouter]] = lambda _: ()
    commands: Sequence[click.Command] = ()
    listen: Callable[[Any], None] = lambda _: None  # subscribe to `announcements` of the services, given these
    # Work beside the requests of each worker, given the services: begun before the first request, ended after the last.
    background: Callable[[Any], AbstractAsyncContextManager[None]] | None = None


CAPABILITIES: list[Capability] = [
    Capability("health", routers=lambda _: [health.router]),
    Capability("mail", commands=[mail.mail], background=runner.running),
    Capability("notices", listen=notices.listen, background=notices.watching),
    Capability("registration", routers=registration.routers),
    Capability("recovery", routers=lambda _: recovery.routers),
    Capability("verification", routers=lambda _: verification_pages.routers, listen=verification.listen),
    Capability("invitation", routers=lambda _: invitation_pages.routers, listen=invitation.listen),
]
