"""The database: a URL becomes engines, and units of work run on them."""

from userapi.kit.database.engines import driver_url, parse_url
from userapi.kit.database.faults import AskAfterRollback, RunAgain, require_asked
from userapi.kit.database.sqlite import sqlite_file
from userapi.kit.database.tries import within
from userapi.kit.database.units import Database

__all__ = [
    "AskAfterRollback",
    "Database",
    "RunAgain",
    "driver_url",
    "parse_url",
    "require_asked",
    "sqlite_file",
    "within",
]
