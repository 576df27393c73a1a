"""The one list of what the service can do beyond users and login: here a capability is plugged in, or left out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import click
from fastapi import APIRouter
from sqlalchemy import Connection

from userapi.activity import commands as activity_commands
from userapi.activity import routes as activity
from userapi.adoption import commands as adoption
from userapi.backups.commands import backup, end_sessions
from userapi.clients import commands as client_commands
from userapi.clients import routes as clients
from userapi.delivery import commands as delivery
from userapi.delivery import outbox, runner
from userapi.discovery import commands as discovery_commands
from userapi.discovery import routes as discovery
from userapi.events import background as events_background
from userapi.events import rules as events
from userapi.events.settings import EventSettings
from userapi.exports import commands as exports
from userapi.first_admin.settings import FirstAdminSettings
from userapi.health import routes as health
from userapi.imports import commands as imports
from userapi.invitation import pages as invitation_pages
from userapi.invitation import rules as invitation
from userapi.metrics import background as metrics
from userapi.metrics import endpoint, traces
from userapi.metrics.rules import sessions_alive
from userapi.metrics.settings import MetricSettings
from userapi.notices import rules as notices
from userapi.notices.settings import NoticeSettings
from userapi.recovery import pages as recovery
from userapi.registration import routes as registration
from userapi.registration.settings import RegistrationSettings
from userapi.security.settings import SecuritySettings
from userapi.verification import pages as verification_pages
from userapi.verification import rules as verification


class Settings(
    EventSettings, FirstAdminSettings, MetricSettings, NoticeSettings, RegistrationSettings, SecuritySettings
):
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
    options: Callable[[Settings], Mapping[str, Any]] = lambda _: {}  # of FastAPI
    # Work of each process that serves, given whether it is the first one, and the only one.
    beside: Callable[[Settings, bool, bool], AbstractContextManager[Any]] = lambda *_: nullcontext()
    counts: Mapping[str, Callable[[Connection], int]] = field(default_factory=dict)  # gauges of the metrics, by name


CAPABILITIES: list[Capability] = [
    Capability("health", routers=lambda _: [health.router]),
    Capability("delivery", commands=[delivery.mail], background=runner.running, counts={"outbox": outbox.depth}),
    Capability("notices", listen=notices.listen, background=notices.watching),
    Capability("backups", commands=[backup, end_sessions]),
    Capability("registration", routers=registration.routers),
    Capability("recovery", routers=lambda _: recovery.routers),
    Capability("verification", routers=lambda _: verification_pages.routers, listen=verification.listen),
    Capability("invitation", routers=lambda _: invitation_pages.routers, listen=invitation.listen),
    Capability("events", listen=events.listen, background=events_background.work),
    Capability("activity", routers=lambda _: [activity.router], commands=[activity_commands.events]),
    Capability(
        "metrics",
        options=traces.options,
        background=metrics.work,
        beside=endpoint.served,
        counts={"sessions_alive": sessions_alive},
    ),
    Capability("discovery", routers=lambda _: [discovery.router], commands=[discovery_commands.make_key]),
    Capability(
        "clients",
        routers=lambda _: [clients.router],
        commands=[client_commands.create_client, client_commands.list_clients, client_commands.delete_client],
    ),
    Capability("adoption", commands=[adoption.adopt]),
    Capability("imports", commands=[imports.import_users]),
    Capability("exports", commands=[exports.export_users]),
]
