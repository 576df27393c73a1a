"""What tests take from the service's own code, in one place; all else goes through its processes."""

from userapi.capabilities import Settings
from userapi.cli import cli
from userapi.errors import ApiError, DatabaseUnavailable, ErrorCode
from userapi.kit.announcements import Announcement, Announcements, announce
from userapi.kit.database import Database
from userapi.kit.web import addresses, problems
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import client as client_dependency
from userapi.listing import ListQuery, Page, find_page, finding
from userapi.main import create_app
from userapi.models import LoginSession, Timestamp, User, canonical, now
from userapi.proof import guards
from userapi.schema import migrations
from userapi.security import foreign_hashes
from userapi.security.counters import MOST, LocalCounters
from userapi.security.hashing import FairQueue
from userapi.security.strength import Strength, is_common
from userapi.security.throttle import Budget, Throttle, known_devices, strangers
from userapi.services import Services
from userapi.sessions.issuer import issuer

__all__ = [
    "MOST",
    "Announcement",
    "Announcements",
    "ApiError",
    "Budget",
    "Client",
    "Database",
    "DatabaseUnavailable",
    "ErrorCode",
    "FairQueue",
    "ListQuery",
    "LocalCounters",
    "LoginSession",
    "Page",
    "Services",
    "Settings",
    "Strength",
    "Throttle",
    "Timestamp",
    "User",
    "addresses",
    "announce",
    "canonical",
    "cli",
    "client_dependency",
    "create_app",
    "find_page",
    "finding",
    "foreign_hashes",
    "guards",
    "is_common",
    "issuer",
    "known_devices",
    "migrations",
    "now",
    "problems",
    "strangers",
]
