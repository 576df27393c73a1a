"""Login sessions: seen and ended by their user or an admin."""

from typing import Annotated

from fastapi import Path, Query

from userapi import accounts, routes, sessions
from userapi.dependencies import DatabaseDep, TargetDep
from userapi.errors import INVALID, ApiError, ErrorCode, responses
from userapi.models import MAX_ID, SessionPublic, UserId, now

router = routes.router(
    prefix="/users/{user_id}/sessions",
    tags=["sessions"],
    responses=responses(
        ErrorCode.NOT_AUTHENTICATED,
        ErrorCode.INVALID_TOKEN,
        ErrorCode.NOT_ENOUGH_PERMISSIONS,
        ErrorCode.USER_NOT_FOUND,
        ErrorCode.DATABASE_UNAVAILABLE,
    )
    | INVALID,
)


@router.get("")
async def list_sessions(
    target: TargetDep,
    database: DatabaseDep,
    page: Annotated[int, Query(ge=1, le=MAX_ID // 100)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 100,
) -> list[SessionPublic]:
    """List the sessions of a user, the newest first."""
    found = await database.read(sessions.find_all, target.user_id, now(), page, page_size)
    if not found and not target.own:
        await database.read(accounts.find, target.user_id)
    return [
        SessionPublic(
            **session._mapping, last_used_at=session.rotated_at, current=session.id == target.caller.session_id
        )
        for session in found
    ]


@router.delete("", status_code=204)
async def end_sessions(target: TargetDep, database: DatabaseDep, *, keep_current: bool = False) -> None:
    """End all sessions of a user; with `keep_current`, all but the one of this request."""
    if not target.own:
        await database.read(accounts.find, target.user_id)
    await database.write(sessions.end_all, target.user_id, keep=target.caller.session_id if keep_current else None)


@router.delete("/{session_id}", status_code=204, responses=responses(ErrorCode.SESSION_NOT_FOUND))
async def end_session(
    target: TargetDep, session_id: Annotated[UserId, Path(description="A session's id")], database: DatabaseDep
) -> None:
    """End a session; its tokens die with it."""
    if not await database.write(sessions.end, target.user_id, session_id):
        raise ApiError(ErrorCode.SESSION_NOT_FOUND)
