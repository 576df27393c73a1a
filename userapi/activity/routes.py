"""The routes by which events are read."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response

from userapi.activity import listing
from userapi.activity.query import ActivityQuery, EventQuery
from userapi.errors import ErrorCode
from userapi.events.models import EventPublic
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import DatabaseDep, path_of
from userapi.kit.web.links import links
from userapi.sessions import rules as sessions
from userapi.sessions.caller import AdminDep, TargetDep

router = openapi.router(tags=["events"])

_LISTED: openapi.Responses = {200: {"headers": openapi.LINK}}


@router.get("/events", responses=_LISTED)
async def list_events(
    _: AdminDep, query: Annotated[EventQuery, Query()], database: DatabaseDep, request: Request, response: Response
) -> Sequence[EventPublic]:
    """List what happened, the newest first (admins only)."""
    read = database.read_long if query.may_be_long else database.read
    page = await read(listing.find_page, query, None)
    response.headers["Link"] = links(path_of(request), listing.kept(query), listing.places(page))
    return page.events


@router.get("/users/{user_id}/events", responses=_LISTED)
@openapi.raises(ErrorCode.USER_NOT_FOUND)
async def list_activity(
    target: TargetDep,
    query: Annotated[ActivityQuery, Query()],
    database: DatabaseDep,
    request: Request,
    response: Response,
) -> Sequence[EventPublic]:
    """List what happened to a user, the newest first: to oneself or, for admins, to anybody."""
    if not target.own:
        await database.read(sessions.require_user, target.user_id)
    page = await database.read(listing.find_page, query, target.user_id)
    response.headers["Link"] = links(path_of(request), listing.kept(query), listing.places(page))
    return page.events
