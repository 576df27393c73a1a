"""Whether the service lives, and whether it can serve."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel

from userapi.errors import ApiError, DatabaseUnavailable, ErrorCode, Refusal
from userapi.health import rules
from userapi.kit.database import within
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import DatabaseDep
from userapi.schema import migrations

READY_SECONDS = 2

router = openapi.router(prefix="/health", tags=["health"])


class Health(BaseModel):
    """That all is well; what is not is an error."""

    status: Literal["ok"] = "ok"


@router.get("/live")
async def live() -> Health:
    """Tell that the process answers."""
    return Health()


@router.get("/ready")
@openapi.raises(ErrorCode.NOT_READY)
async def ready(database: DatabaseDep, request: Request) -> Health:
    """Tell that the database answers and can be written, within 2 s, and its schema is at head."""
    try:
        async with within(READY_SECONDS):
            await migrations.require_head(database)
            if not request.app.state.services.settings.embedded:  # SQLite's one writer is not to be waited for
                await database.write(rules.write_nothing)
    except (DatabaseUnavailable, TimeoutError) as error:
        raise ApiError(ErrorCode.NOT_READY, "Not ready: database") from error
    except Refusal as error:
        raise ApiError(ErrorCode.NOT_READY, "Not ready: schema") from error
    return Health()
