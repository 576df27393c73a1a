"""The route by which somebody makes an account for oneself."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from userapi.errors import ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep, DatabaseDep
from userapi.models import UserPublic, UserRegister
from userapi.registration.languages import preferred
from userapi.registration.rules import require_unverified
from userapi.registration.settings import RegistrationSettings
from userapi.security.throttle import Throttle
from userapi.users import answers, rules
from userapi.users.dependencies import PreparationDep
from userapi.users.routes import CREATED

router = openapi.router(tags=["auth"], dependencies=[NOT_CROSS_SITE])


class Registered(BaseModel):
    """What happens, for people; it tells nobody whether the address has an account."""

    message: str = "A mail is on its way to the address. Log in once you have verified it"


def routers(settings: RegistrationSettings) -> list[APIRouter]:
    """Return the router, if the operator allows registration."""
    return [router] if settings.registration_enabled else []


@router.post(
    "/register",
    status_code=201,
    response_model=UserPublic,
    responses=CREATED
    | {202: {"model": Registered, "description": "With verification required: the same for every address"}},
)
@openapi.raises(ErrorCode.USERNAME_TAKEN, ErrorCode.EMAIL_TAKEN, ErrorCode.TOO_MANY_REGISTRATIONS)
async def register(
    new: UserRegister, database: DatabaseDep, prepare: PreparationDep, client: ClientDep, request: Request
) -> Response:
    """Make an account for oneself. Without `locale` it speaks the language that the browser prefers.

    If the service verifies addresses, a mail lets one do so; if it requires that, the answer is 202 without the user.
    """
    new.locale = new.locale or preferred(request.headers.get("accept-language"))
    services = request.app.state.services

    verification = services.settings.email_verification

    async def admit() -> None:
        if verification == "on":
            await database.read(require_unverified, new.email)
        throttle: Throttle | None = services.throttle
        if throttle is not None:
            await throttle.register(client.ip, services.settings.registrations_per_hour)

    hashed_password = await prepare.user(new, client, admit, email=verification == "off")
    made = await database.write(rules.create, new, hashed_password, claims=verification != "off")
    return (
        JSONResponse(Registered().model_dump(), 202) if verification == "required" else answers.created(made, request)
    )
