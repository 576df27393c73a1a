"""The database: a URL becomes engines, and units of work run on them."""

from userapi.kit.database.engines import driver_url, parse_url
from userapi.kit.database.faults import AskAfterRollback, RunAgain, require_asked
from userapi.kit.database.sqlite import KEY_ENDING, sqlite_file, sqlite_files
from userapi.kit.database.tries import within
from userapi.kit.database.units import Database

__all__ = [
    "KEY_ENDING",
    "AskAfterRollback",
    "Database",
    "RunAgain",
    "driver_url",
    "parse_url",
    "require_asked",
    "sqlite_file",
    "sqlite_files",
    "within",
]
