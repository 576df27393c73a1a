"""What tests take from the service's own code, in one place; all else goes through its processes."""

from userapi import worker
from userapi.activity.listing import find_page as find_events
from userapi.activity.ocsf import ocsf
from userapi.activity.query import EventQuery
from userapi.capabilities import Capability, Settings
from userapi.cli import cli
from userapi.clients import rules as clients
from userapi.codes import rules as codes
from userapi.codes.models import OneTimeCode
from userapi.delivery import outbox
from userapi.delivery.rendering import Renderer
from userapi.delivery.runner import running
from userapi.errors import ApiError, DatabaseUnavailable, ErrorCode
from userapi.events import background as event_work
from userapi.events import rules as event_rules
from userapi.events.models import Event, EventName, EventPublic
from userapi.kit.announcements import Announcement, Announcements, announce
from userapi.kit.database import Database, reads, server
from userapi.kit.database.engines import driver_url, server_engine
from userapi.kit.web import addresses, problems
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import client as client_dependency
from userapi.listing import ListQuery, Page, find_page, finding
from userapi.mail import rules as mail_rules
from userapi.mail.models import MailClient, OutboxMail
from userapi.mail.rules import Context as MailContext
from userapi.mail.settings import TEMPLATES
from userapi.main import create_app
from userapi.models import (
    LoginSession,
    Timestamp,
    User,
    canonical,
    now,
)
from userapi.moving import bulk
from userapi.notices.settings import NOTICES
from userapi.proof import guards
from userapi.proof.password_check import LoginFailed
from userapi.schema import locks, migrations, revisions
from userapi.security import bcrypt_hash, foreign_hashes
from userapi.security.counters import MOST, LocalCounters, SharedCounters
from userapi.security.database_counters import DatabaseCounters
from userapi.security.hashing import FairQueue
from userapi.security.keyring import Keyring
from userapi.security.strength import Strength, is_common
from userapi.security.throttle import Budget, Throttle, known_devices, strangers
from userapi.security.tokens import Claims
from userapi.server import supervisor
from userapi.server.listening import Place, admit_no_more, listen
from userapi.services import Services
from userapi.sessions.callers import Callers
from userapi.sessions.issuer import issuer

__all__ = [
    "MOST",
    "NOTICES",
    "TEMPLATES",
    "Announcement",
    "Announcements",
    "ApiError",
    "Budget",
    "Callers",
    "Capability",
    "Claims",
    "Client",
    "Database",
    "DatabaseCounters",
    "DatabaseUnavailable",
    "ErrorCode",
    "Event",
    "EventName",
    "EventPublic",
    "EventQuery",
    "FairQueue",
    "Keyring",
    "ListQuery",
    "LocalCounters",
    "LoginFailed",
    "LoginSession",
    "MailClient",
    "MailContext",
    "OneTimeCode",
    "OutboxMail",
    "Page",
    "Place",
    "Renderer",
    "Services",
    "Settings",
    "SharedCounters",
    "Strength",
    "Throttle",
    "Timestamp",
    "User",
    "addresses",
    "admit_no_more",
    "announce",
    "bcrypt_hash",
    "bulk",
    "canonical",
    "cli",
    "client_dependency",
    "clients",
    "codes",
    "create_app",
    "driver_url",
    "event_rules",
    "event_work",
    "find_events",
    "find_page",
    "finding",
    "foreign_hashes",
    "guards",
    "is_common",
    "issuer",
    "known_devices",
    "listen",
    "locks",
    "mail_rules",
    "migrations",
    "now",
    "ocsf",
    "outbox",
    "problems",
    "reads",
    "revisions",
    "running",
    "server",
    "server_engine",
    "strangers",
    "supervisor",
    "worker",
]
