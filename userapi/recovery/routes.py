"""The routes by which somebody gets back into an account."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from userapi.errors import ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep, DatabaseDep
from userapi.mail.dependencies import MailContextDep
from userapi.mailboxes import proofs
from userapi.mailboxes.proofs import NEW_PASSWORD_ERRORS, NewPasswordProof
from userapi.models import MAX_EMAIL
from userapi.recovery import rules

router: APIRouter = openapi.router(
    prefix="/password",
    tags=["recovery"],
    dependencies=[NOT_CROSS_SITE],
)


class Forgot(BaseModel):
    """Who forgot a password."""

    login: str = Field(min_length=1, max_length=MAX_EMAIL, description="Username or e-mail address")


class Message(BaseModel):
    """What happens, for people."""

    message: str = "If there is such an account, a mail is on its way to its address"


@router.post("/forgot", status_code=202)
@openapi.raises(ErrorCode.DATABASE_UNAVAILABLE)
async def forgot_password(body: Forgot, database: DatabaseDep, context: MailContextDep) -> Message:
    """Ask for a mail that lets one set a new password. The answer is the same whether there is such an account."""
    await database.write(rules.forgot, context, body.login)
    return Message()


@router.post("/reset", status_code=204, response_class=Response)
@openapi.raises(*NEW_PASSWORD_ERRORS)
async def reset_password(body: NewPasswordProof, client: ClientDep, request: Request) -> None:
    """Set a new password with the mail's `token`, or with `login` and the mail's `code`. It works once.

    All sessions end, and nobody is logged in. Five wrong codes end the right one.
    """
    await reset(request.app.state.services, body, client)


async def reset(services: Any, proof: NewPasswordProof, client: Client) -> None:
    """Set a new password.

    Raises:
        ApiError: invalid_code, too_many_attempts, overloaded, database_unavailable, email_taken, and what
            `Strength.require` says.
    """
    await proofs.admit(services, client)
    new = await proofs.prepare(services, rules.RESET, proof, client)
    user_id = await services.database.write(rules.reset, services.keyring, proof, new)
    await proofs.settle(services, client, good=user_id is not None)
    if services.throttle is not None:
        await services.throttle.forgive(*rules.locks(user_id))
