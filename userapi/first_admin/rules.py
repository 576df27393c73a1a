"""The first admin: made when there are no users, so that somebody can log in."""

import secrets
import string

import sqlalchemy
from pydantic import ValidationError
from sqlalchemy import Connection, delete
from sqlmodel import Session, col

from userapi.errors import ApiError, ErrorCode, Refusal
from userapi.first_admin.settings import FirstAdminSettings
from userapi.kit.announcements import Announcements
from userapi.kit.commands import broken_rules
from userapi.kit.database import Database
from userapi.models import Deployment, User, UserCreate, UserRow
from userapi.schema import locks
from userapi.security.hashing import Passwords
from userapi.security.strength import Strength
from userapi.users import rules
from userapi.users.changes import PasswordChanged
from userapi.users.rules import UserDeleted

GENERATED = "generated_password"  # the name under which a database keeps whose password was generated, by id


async def make_first_admin(
    settings: FirstAdminSettings, database: Database, passwords: Passwords, strength: Strength
) -> list[str]:
    """Make the first admin if there is no user at all; return what the operator should read, a line each.

    Raises:
        Refusal: The settings name an admin that breaks a rule.
    """
    # Where there seems to be nobody, another process may just be moving users in, and hold the lock of migrations.
    if await database.read(rules.any_user) or await locks.migrate(database, rules.any_user):
        return []
    generated = None
    if settings.first_admin_password is None:
        if not settings.embedded:
            return ["There are no users yet: make the first admin with python -m userapi create-admin"]
        generated = _readable_password()
    admin = _checked(settings, generated)
    try:
        await strength.require(admin.password, admin.username, admin.email)
    except ApiError as error:
        raise Refusal(f"the first admin cannot be made: FIRST_ADMIN_PASSWORD: {error}") from error
    hashed_password = await passwords.hash(admin.password)
    try:
        made = await database.write(_create, admin, hashed_password, generated is not None)
    except ApiError as error:
        if error.code is not ErrorCode.USERNAME_TAKEN:
            raise
        made = None  # another process was faster
    if made is None:
        return []
    shown = (
        f"    password: {generated}   (shown this once)" if generated else "    password: as in FIRST_ADMIN_PASSWORD"
    )
    return ["The first admin is made:", f"    username: {made.username}", shown]


def _checked(settings: FirstAdminSettings, generated: str | None) -> UserCreate:
    given = settings.first_admin_password
    try:
        admin = UserCreate(
            username=settings.first_admin_username,
            email=settings.first_admin_email,
            password=generated or (given.get_secret_value() if given else ""),
            is_admin=True,
            email_verified=True,
        )
    except ValidationError as error:
        broken = broken_rules(error, "FIRST_ADMIN_")
        raise Refusal(f"the first admin cannot be made: {broken}") from error
    return admin


def listen(announcements: Announcements) -> None:
    """Subscribe to what ends a generated password."""
    announcements.inside_unit(PasswordChanged, lambda db, changed: _forget(db, changed.user_id))
    announcements.inside_unit(UserDeleted, lambda db, deleted: _forget(db, deleted.user_id))


def reminder(connection: Connection) -> list[str]:
    """Return what the operator should read while a generated password has not been changed: at most a line."""
    mark = sqlalchemy.select(col(Deployment.value)).where(col(Deployment.name) == GENERATED)
    user_id = connection.execute(mark).scalar()
    named = sqlalchemy.select(col(User.username)).where(col(User.id) == int(user_id or 0))
    return [
        f"The generated password of {username} still stands: change it with python -m userapi set-password {username}"
        for username in connection.execute(named).scalars()
    ]


def _create(db: Session, new: UserCreate, hashed_password: str, generated: bool) -> UserRow | None:
    """Make an admin if there is still no user at all; return None if there is one."""
    if rules.any_user(db.connection()):
        return None
    made = rules.create(db, new, hashed_password)
    if generated:
        db.merge(Deployment(name=GENERATED, value=str(made.id)))
    return made


def _forget(db: Session, user_id: int) -> None:
    mark = (col(Deployment.name) == GENERATED) & (col(Deployment.value) == str(user_id))
    db.exec(delete(Deployment).where(mark))


def _readable_password() -> str:
    """Return a random password that fits the rule, without look-alike characters: about 93 bits."""
    alphabet = [character for character in string.ascii_letters + string.digits if character not in "0O1lI"]
    while True:
        password = "".join(secrets.choice(alphabet) for _ in range(16))
        if any(map(str.islower, password)) and any(map(str.isupper, password)) and any(map(str.isdigit, password)):
            return password
