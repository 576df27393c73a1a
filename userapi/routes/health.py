"""Whether the service lives, and whether it can serve."""

from typing import Literal

from pydantic import BaseModel

from userapi import bootstrap, routes
from userapi.database import within
from userapi.dependencies import DatabaseDep
from userapi.errors import ApiError, DatabaseUnavailable, ErrorCode, responses

READY_SECONDS = 2

router = routes.router(prefix="/health", tags=["health"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/live")
async def live() -> Health:
    """Tell that the process answers."""
    return Health()


@router.get("/ready", responses=responses(ErrorCode.NOT_READY))
async def ready(database: DatabaseDep) -> Health:
    """Tell that the database answers, within 2 s, and its schema is at head."""
    try:
        async with within(READY_SECONDS):
            await bootstrap.require_head(database)
    except (DatabaseUnavailable, TimeoutError) as error:
        raise ApiError(ErrorCode.NOT_READY, "Not ready: database") from error
    except bootstrap.Refusal as error:
        raise ApiError(ErrorCode.NOT_READY, "Not ready: schema") from error
    return Health()
