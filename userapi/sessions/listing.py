"""The list of a user's login sessions."""

from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import Connection
from sqlmodel import col

from userapi.kit.database import require_asked
from userapi.models import LoginSession, SessionPublic

_SHOWN: tuple[Any, ...] = (
    LoginSession.id,
    LoginSession.user_id,
    LoginSession.created_at,
    LoginSession.rotated_at,
    LoginSession.expires_at,
    LoginSession.user_agent,
    LoginSession.ip,
)


def find_page(
    connection: Connection, user_id: int, at: datetime, own: int, page: int, page_size: int
) -> tuple[list[SessionPublic], bool]:
    """Return a page of a user's sessions that are alive at an instant, the newest first, and whether more follow.

    `own` is the id of the session that asks; `page` is counted from 1.
    """
    alive = sqlalchemy.select(*_SHOWN).where(col(LoginSession.user_id) == user_id, col(LoginSession.expires_at) > at)
    newest = alive.order_by(col(LoginSession.id).desc()).limit(page_size + 1).offset((page - 1) * page_size)
    rows = connection.execute(newest).all()
    require_asked({row.user_id for row in rows} - {user_id}, set())
    shown = [
        SessionPublic(
            id=row.id,
            created_at=row.created_at,
            last_used_at=row.rotated_at,
            expires_at=row.expires_at,
            user_agent=row.user_agent,
            ip=row.ip,
            current=row.id == own,
        )
        for row in rows[:page_size]
    ]
    return shown, len(rows) > page_size
