"""Rules about whether the database can be written."""

from sqlalchemy import delete
from sqlmodel import Session, col

from userapi.models import Deployment


def write_nothing(db: Session) -> None:
    """Change no row. A server that has become read-only and kept its connections refuses even that."""
    db.exec(delete(Deployment).where(col(Deployment.name) == ""))
