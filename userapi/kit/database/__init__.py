"""The database: a URL becomes engines, and units of work run on them."""

from userapi.kit.database.engines import driver_url, sqlite_file
from userapi.kit.database.faults import AskAfterRollback, RunAgain
from userapi.kit.database.units import Database, within

__all__ = ["AskAfterRollback", "Database", "RunAgain", "driver_url", "sqlite_file", "within"]
