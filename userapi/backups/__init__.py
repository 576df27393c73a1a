"""Backups: a copy of the database, and what must not come back with an older one."""
