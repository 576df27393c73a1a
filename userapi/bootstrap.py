"""What must be true before serving: a signing key, the schema at head, a first admin."""

import os
import secrets
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from alembic import command
from userapi import accounts
from userapi.database import Database, sqlite_file
from userapi.errors import ApiError, DatabaseUnavailable
from userapi.models import UserCreate
from userapi.security import Passwords
from userapi.settings import Settings, check_secret, split_secrets

_ALEMBIC = Config(Path(__file__).parent.parent / "alembic.ini")


class Refusal(Exception):
    """The service cannot start; the message is one sentence for the operator."""


class Ready(NamedTuple):
    """What serving needs, and what the operator should read."""

    secrets: list[str]  # signing keys, the one that signs first
    notes: list[str]


async def prepare(settings: Settings, database: Database, passwords: Passwords) -> Ready:
    """Make true what must be true before serving. Safe to run in several processes at once.

    Raises: Refusal.
    """
    with usable(settings):
        if settings.migrate_on_start or (settings.migrate_on_start is None and settings.embedded):
            await upgrade(database)
        await require_head(database)
        notes = await _first_admin(settings, database, passwords)
    return Ready(split_secrets(_secrets(settings)), notes)


@contextmanager
def usable(settings: Settings) -> Iterator[None]:
    """Whatever is wrong with the database that the settings name is said in one sentence.

    Raises: Refusal.
    """
    try:
        yield
    except (DatabaseUnavailable, SQLAlchemyError, TypeError) as error:  # TypeError: an option the driver does not know
        cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
        reason = str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0] or type(cause).__name__
        shown = settings.url.render_as_string(hide_password=True)
        raise Refusal(f"cannot use the database {shown}: {reason}") from error


def head() -> str | None:
    """Give the newest revision this version of the service knows."""
    return ScriptDirectory.from_config(_ALEMBIC).get_current_head()


async def revision(database: Database) -> str | None:
    """Give the revision of the database's schema; None for an empty one."""
    return await database.read(_revision)


async def require_head(database: Database) -> None:
    """Check that the schema is at head.

    Raises: Refusal, naming the command that helps.
    """
    found, wanted = await revision(database), head()
    if found != wanted:
        raise Refusal(
            f"the database's schema is at {found or 'nothing'}, this version needs {wanted}:"
            f" run python -m userapi migrate"
        )


async def upgrade(database: Database) -> tuple[str | None, str | None]:
    """Bring the schema to head; give the revisions before and after.

    Raises: Refusal, for a schema that this version does not know.
    """
    before, wanted = await revision(database), head()
    if before == wanted:
        return before, wanted
    try:
        steps = await database.migrate(_upgrade)
    except CommandError as error:
        raise Refusal(f"the database's schema cannot be brought to head: {error}") from error
    return (before if steps else wanted), wanted


def _upgrade(connection: Connection) -> list[str]:
    """Give the revisions gone through: none, if another process was faster."""
    steps: list[str] = []
    _ALEMBIC.attributes.update(connection=connection, on_step=lambda step, **_: steps.append(step.up_revision_id))
    try:
        command.upgrade(_ALEMBIC, "head")
    finally:
        _ALEMBIC.attributes.clear()
    return steps


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _secrets(settings: Settings) -> str:
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    database_file = sqlite_file(settings.url)
    if database_file is None:  # in memory: the users die with the process, so may the key
        return secrets.token_hex(32)
    key_file = database_file.with_name(database_file.name + ".secret_key")
    if not key_file.exists():
        _create_once(key_file, secrets.token_hex(32))
    kept = key_file.read_text()
    try:
        for secret in split_secrets(kept):
            check_secret(secret)
    except ValueError as error:
        raise Refusal(f"the secret key in {key_file} {error}") from error
    return kept


def _create_once(path: Path, content: str) -> None:
    """Write a file for the owner only; whoever comes first wins, and nobody sees half of it."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()


async def _first_admin(settings: Settings, database: Database, passwords: Passwords) -> list[str]:
    if await database.read(accounts.any_user):
        return []
    password, generated = settings.first_admin_password, None
    if password is None:
        if not settings.embedded:
            return ["There are no users yet: make the first admin with python -m userapi create-admin"]
        generated = _readable_password()
    try:
        admin = UserCreate(
            username=settings.first_admin_username,
            email=settings.first_admin_email,
            password=generated or (password.get_secret_value() if password else ""),
        )
    except ValidationError as error:
        broken = "; ".join(f"FIRST_ADMIN_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise Refusal(f"the first admin cannot be made: {broken}") from error
    try:
        accounts.refuse_guessable(admin.password, admin.username, admin.email)
    except ApiError as error:
        raise Refusal(f"the first admin cannot be made: FIRST_ADMIN_PASSWORD: {error}") from error
    made = await database.write(accounts.create_first_admin, admin, await passwords.hash(admin.password))
    if made is None:
        return []
    shown = (
        f"    password: {generated}   (shown this once)" if generated else "    password: as in FIRST_ADMIN_PASSWORD"
    )
    return ["The first admin is made:", f"    username: {made.username}", shown]


def _readable_password() -> str:
    """A random password that fits the rule, without look-alike characters: about 93 bits."""
    alphabet = [character for character in string.ascii_letters + string.digits if character not in "0O1lI"]
    while True:
        password = "".join(secrets.choice(alphabet) for _ in range(16))
        if any(map(str.islower, password)) and any(map(str.isupper, password)) and any(map(str.isdigit, password)):
            return password
