"""Who issues tokens: a random id in the database, so that the same key on another database accepts none of them."""

import secrets

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col

from userapi.kit.database import Database, RunAgain
from userapi.models import Deployment

_VALUE = sqlalchemy.select(col(Deployment.value)).where(col(Deployment.name) == "issuer")


async def issuer(database: Database) -> str:
    """Return the issuer of this database's tokens; make it if there is none yet. Several processes may do so at once.

    Raises:
        DatabaseUnavailable: The database does not answer in time.
    """
    found = await database.read(_find)
    return await database.write(_make) if found is None else found


def _find(connection: Connection) -> str | None:
    return connection.execute(_VALUE).scalar_one_or_none()


def _make(db: Session) -> str:
    if found := _find(db.connection()):
        return found
    made = secrets.token_urlsafe(16)
    db.add(Deployment(name="issuer", value=made))
    try:
        db.flush()
    except IntegrityError as error:
        raise RunAgain from error  # another process was faster
    return made
