"""The rule of whose addresses may be registered, where they are verified."""

import sqlalchemy
from sqlalchemy import Connection
from sqlmodel import col

from userapi.errors import ApiError, ErrorCode
from userapi.models import User, canonical


def require_unverified(connection: Connection, email: str) -> None:
    """Check that nobody has verified an address: an account that has not does not keep its owner from it.

    Raises:
        ApiError: email_taken.
    """
    verified = (col(User.email_key) == canonical(email)) & col(User.email_verified_at).is_not(None)
    if connection.execute(sqlalchemy.select(col(User.id)).where(verified)).first() is not None:
        raise ApiError(ErrorCode.EMAIL_TAKEN)
