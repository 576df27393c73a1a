"""Login sessions: seen and ended by their user or an admin."""

from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from userapi.errors import ApiError, ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import DatabaseDep, path_of
from userapi.kit.web.links import links, numbered
from userapi.models import MAX_ID, SessionPublic, UserId, now
from userapi.sessions import listing, rules
from userapi.sessions.caller import Target, TargetDep

router = openapi.router(prefix="/users/{user_id}/sessions", tags=["sessions"])


class _ListQuery(BaseModel):
    """Which sessions to list."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=MAX_ID // 100)
    page_size: int = Field(100, ge=1, le=100)


class _EndQuery(BaseModel):
    """Which sessions to end. An unknown parameter is refused: one misspelt would end all of them."""

    model_config = ConfigDict(extra="forbid")

    keep_current: bool = False


@router.get("", responses={200: {"headers": openapi.LINK}})
@openapi.raises(ErrorCode.USER_NOT_FOUND)
async def list_sessions(
    target: TargetDep,
    database: DatabaseDep,
    request: Request,
    response: Response,
    query: Annotated[_ListQuery, Query()],
) -> list[SessionPublic]:
    """List the sessions of a user, the newest first."""
    if not target.own:
        await database.read(rules.require_user, target.user_id)
    caller = target.caller
    page, page_size = query.page, query.page_size
    found, more = await database.read(listing.find_page, target.user_id, now(), caller.session_id, page, page_size)
    response.headers["Link"] = links(path_of(request), {"page_size": page_size}, numbered(page, more=more))
    return found


@router.delete("", status_code=204)
@openapi.raises(ErrorCode.USER_NOT_FOUND)
async def end_sessions(target: TargetDep, database: DatabaseDep, query: Annotated[_EndQuery, Query()]) -> None:
    """End all sessions of a user; with `keep_current`, all but the one of this request."""
    if not target.own:
        await database.read(rules.require_user, target.user_id)
    keep = target.caller.session_id if query.keep_current else None
    await database.write(rules.end_all, target.user_id, _reason(target), keep=keep)


@router.delete("/{session_id}", status_code=204)
@openapi.raises(ErrorCode.SESSION_NOT_FOUND)
async def end_session(
    target: TargetDep, session_id: Annotated[UserId, Path(description="A session's id")], database: DatabaseDep
) -> None:
    """End a session; its tokens die with it."""
    if not await database.write(rules.end, target.user_id, session_id, _reason(target)):
        raise ApiError(ErrorCode.SESSION_NOT_FOUND)


def _reason(target: Target) -> str:
    return "ended by its user" if target.own else "ended by an admin"
