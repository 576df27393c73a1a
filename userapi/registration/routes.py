"""The route by which somebody makes an account for oneself."""

from fastapi import APIRouter, Request, Response

from userapi.errors import ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import NOT_CROSS_SITE, DatabaseDep
from userapi.models import UserPublic, UserRegister
from userapi.registration.settings import RegistrationSettings
from userapi.users.dependencies import PasswordsDep, StrengthDep
from userapi.users.routes import CREATE, create

router = openapi.router(
    tags=["auth"],
    dependencies=[NOT_CROSS_SITE],
    responses=openapi.responses(ErrorCode.CROSS_SITE_REFUSED, ErrorCode.DATABASE_UNAVAILABLE) | openapi.INVALID,
)


def routers(settings: RegistrationSettings) -> list[APIRouter]:
    """Return the router, if the operator allows registration."""
    return [router] if settings.registration_enabled else []


@router.post("/register", status_code=201, response_model=UserPublic, responses=CREATE)
async def register(
    new: UserRegister, database: DatabaseDep, strength: StrengthDep, passwords: PasswordsDep, request: Request
) -> Response:
    """Make an account for oneself."""
    return await create(new, database, strength, passwords, request)
