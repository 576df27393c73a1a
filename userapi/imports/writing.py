"""What was found good is written, in batches that hold the database's locks for a short time only."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from userapi.errors import ApiError, Refusal
from userapi.imports.staging import Staged, Staging
from userapi.kit.announcements import Announcement, announce
from userapi.kit.database import Database
from userapi.moving import bulk
from userapi.security.hashing import Passwords
from userapi.users.changes import OPERATOR

BATCH_SECONDS = 0.03  # which a batch is to take
MIN_BATCH, MAX_BATCH = 50, 1000  # rows: even where each commit takes longer than that
AT_ONCE = 32  # passwords that wait to be hashed


@dataclass(frozen=True)
class Imported(Announcement):
    """Users came in by a command: so many are new, and so many were there and are changed."""

    created: int
    changed: int
    by: str = OPERATOR


async def hash_passwords(passwords: Passwords, staging: Staging, progress: Callable[[int], None]) -> None:
    """Put hashes in the place of the passwords of rows, on all cores."""
    after = 0
    while rows := staging.rows(after, AT_ONCE, to_hash=True):
        hashes = await asyncio.gather(*(passwords.hash(row.password or "") for row in rows))
        for row, hashed_password in zip(rows, hashes, strict=True):
            staging.hashed(row.line, hashed_password)
        after = rows[-1].line
        progress(len(rows))


async def write(database: Database, staging: Staging, progress: Callable[[int], None]) -> None:
    """Write all rows. If one cannot be written any more, those before it are taken back.

    Between two batches others may read and write: they see some of the new users before all are there.

    Raises:
        ApiError: username_taken, email_taken, user_not_found, last_admin, database_unavailable.
        Refusal: That happened, and what had been written could not be taken back.
    """
    size, tried = 100, 0
    await database.write(bulk.raise_sequence, staging.highest_id())
    try:
        while rows := staging.rows(tried, size):
            begun, tried = time.perf_counter(), rows[-1].line
            await database.write(_write, staging, rows)
            took = time.perf_counter() - begun
            progress(len(rows))
            size = max(MIN_BATCH, min(MAX_BATCH, int(len(rows) * min(2.0, BATCH_SECONDS / took))))
            await asyncio.sleep(took / 2)  # or whoever waits for SQLite's lock might never find it free
        await database.write(announce, Imported(staging.count(new=True), staging.count(new=False)))
    except BaseException as error:
        try:
            await _undo(database, staging, tried)
        except ApiError:
            raise Refusal(f"{error}; what is written so far stays: run it again, and it is completed") from error
        raise


def _write(db: Session, staging: Staging, rows: Sequence[Staged]) -> None:
    bulk.make(db, [row.fields for row in rows if row.target is None])
    before = bulk.change(db, {row.target: row.fields for row in rows if row.target is not None})
    staging.remember(before)  # in the unit: whoever is interrupted does not learn whether it was committed


async def _undo(database: Database, staging: Staging, tried: int) -> None:
    after = 0
    while rows := [row for row in staging.rows(after, MAX_BATCH // 4) if row.line <= tried]:
        await database.write(bulk.remove, [row.fields for row in rows if row.target is None])
        await database.write(bulk.change_back, staging.before([row.target for row in rows if row.target is not None]))
        after = rows[-1].line
