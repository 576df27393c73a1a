"""The one list of what the service can do beyond users and login: here a capability is plugged in, or left out."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import click
from fastapi import APIRouter

from userapi.adoption import commands as adoption
from userapi.exports import commands as exports
from userapi.first_admin.settings import FirstAdminSettings
from userapi.health import routes as health
from userapi.imports import commands as imports
from userapi.kit.announcements import Announcements
from userapi.registration import routes as registration
from userapi.registration.settings import RegistrationSettings
from userapi.security.settings import SecuritySettings


class Settings(FirstAdminSettings, RegistrationSettings, SecuritySettings):
    """All settings: a room that has some is one of the bases here."""


@dataclass(frozen=True)
class Capability:
    """What a folder gives the service; all of it may be left out."""

    name: str
    routers: Callable[[Settings], Sequence[APIRouter]] = lambda _: ()
    commands: Sequence[click.Command] = ()
    listen: Callable[[Announcements], None] = lambda _: None  # subscribe to what rules announce
    # Work beside the requests of each worker, given the services: begun before the first request, ended after the last.
    background: Callable[[Any], AbstractAsyncContextManager[None]] | None = None


CAPABILITIES: list[Capability] = [
    Capability("health", routers=lambda _: [health.router]),
    Capability("registration", routers=registration.routers),
    Capability("adoption", commands=[adoption.adopt]),
    Capability("imports", commands=[imports.import_users]),
    Capability("exports", commands=[exports.export_users]),
]
