"""Where an import gathers before anything is written: a temporary database on this host, with no name."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from userapi.moving.bulk import Before
from userapi.moving.foreign import TIMES
from userapi.moving.records import Row

CACHE_KIB = 32 * 1024  # the rest is on the disk, in a file that is deleted already

_SCHEMA = f"""
PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB};
CREATE TABLE staged (
    line INTEGER PRIMARY KEY, target INTEGER, id INTEGER UNIQUE, username_key TEXT UNIQUE, email_key TEXT UNIQUE,
    fields BLOB NOT NULL, password TEXT
);
CREATE TABLE before (user_id INTEGER PRIMARY KEY, fields BLOB, version INTEGER, at TEXT);
CREATE TABLE refused (line INTEGER PRIMARY KEY, username TEXT, email TEXT, reason TEXT);
BEGIN;
"""  # a transaction that never ends: to end one for each row takes four times as long


class Staged(NamedTuple):
    """A row that may be imported: `target` is the id of a user to change, None for a new user.

    `fields` are columns of the user. `password` is to be hashed first.
    """

    line: int
    target: int | None
    fields: dict[str, Any]
    password: str | None = None


class Staging:
    """The rows of an import, in the order of their lines."""

    def __init__(self) -> None:
        """Make room."""
        self._file = sqlite3.connect("", isolation_level=None)  # a file that no other process finds
        self._file.executescript(_SCHEMA)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def add(self, row: Staged, user: Mapping[str, Any]) -> str | None:
        """Keep a row; if another has the id or one of the keys of its user, return the reason why it is not kept."""
        keys = {"id": row.target or row.fields.get("id")}
        keys |= {name: user[name] for name in ("username_key", "email_key")}
        values = (row.line, row.target, *keys.values(), orjson.dumps(row.fields), row.password)
        try:
            self._file.execute("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:
            for name, key in keys.items():
                if line := self.line_of(name, key):
                    return f"{name.removesuffix('_key')}: is that of line {line}, too"
            raise
        return None

    def line_of(self, name: str, key: Any) -> int | None:
        """Return the line of the row that has this id, username key or address key."""
        found = self._file.execute(f"SELECT line FROM staged WHERE {name} = ?", (key,)).fetchone()  # noqa: S608 - ours
        return found and int(found[0])

    def refuse(self, row: Row, reason: str) -> None:
        """Keep why a row is refused."""
        names = (str(row.values.get(name, "")) for name in ("username", "email"))
        shown = [text[:254].encode(errors="backslashreplace").decode() for text in (*names, reason)]
        self._file.execute("INSERT INTO refused VALUES (?, ?, ?, ?)", (row.line, *shown))

    def refused(self) -> Iterator[tuple[int, str, str, str]]:
        """Yield the rows that are refused: their line, username and address as they were given, and why."""
        yield from self._file.execute("SELECT * FROM refused ORDER BY line")

    def hashed(self, line: int, hashed_password: str) -> None:
        """Put the hash of its password in a row, in the password's place."""
        [(fields,)] = self._file.execute("SELECT fields FROM staged WHERE line = ?", (line,))
        replaced = orjson.dumps(orjson.loads(fields) | {"hashed_password": hashed_password})
        self._file.execute("UPDATE staged SET fields = ?, password = NULL WHERE line = ?", (replaced, line))

    def remember(self, users: Iterable[Before]) -> None:
        """Keep what users were before they were changed, by a unit that may yet fail and run again."""
        values = ((user_id, orjson.dumps(fields), version, at.isoformat()) for user_id, fields, version, at in users)
        self._file.executemany("INSERT OR REPLACE INTO before VALUES (?, ?, ?, ?)", values)

    def before(self, user_ids: Iterable[int]) -> list[Before]:
        """Return what users were, of those that are changed already."""
        one = "SELECT * FROM before WHERE user_id = ?"
        found = [row for user_id in user_ids for row in self._file.execute(one, (user_id,))]
        return [Before(row[0], _read(row[1]), row[2], datetime.fromisoformat(row[3])) for row in found]

    def count(self, *, new: bool | None = None, to_hash: bool = False) -> int:
        """Return the number of rows: all, those of new users or the others, or those with a password."""
        wanted = "password IS NOT NULL" if to_hash else "(target IS NULL) = coalesce(?, target IS NULL)"
        counted = self._file.execute(f"SELECT count(*) FROM staged WHERE {wanted}", () if to_hash else (new,))  # noqa: S608
        return int(counted.fetchone()[0])

    def highest_id(self) -> int:
        """Return the highest id that a new user brings; 0 for none."""
        return int(self._file.execute("SELECT max(id) FROM staged WHERE target IS NULL").fetchone()[0] or 0)

    def rows(self, after: int, limit: int, *, to_hash: bool = False) -> list[Staged]:
        """Return the next rows after a line: all, or those with a password."""
        wanted = "AND password IS NOT NULL" if to_hash else ""
        found = self._file.execute(
            f"SELECT line, target, fields, password FROM staged WHERE line > ? {wanted} ORDER BY line LIMIT ?",  # noqa: S608
            (after, limit),
        )
        return [Staged(line, target, _read(fields), password) for line, target, fields, password in found]


def _read(fields: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(fields)
    for name in TIMES:
        if found.get(name):
            found[name] = datetime.fromisoformat(found[name])
    return found
