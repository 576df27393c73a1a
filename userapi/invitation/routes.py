"""The routes of invitations: for admins, who send and withdraw them, and for whoever was invited."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from userapi.errors import ErrorCode
from userapi.invitation import rules
from userapi.kit.web import openapi
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep, DatabaseDep
from userapi.mail.dependencies import MailContextDep
from userapi.mailboxes import proofs
from userapi.mailboxes.proofs import NEW_PASSWORD_ERRORS, NewPasswordProof
from userapi.sessions.caller import AdminDep, TargetDep

router: APIRouter = openapi.router(tags=["invitation"])
_ADMIN = openapi.raises(ErrorCode.USER_NOT_FOUND, ErrorCode.INVITATION_NOT_FOUND)
_PATH = "/users/{user_id}/invitation"


class Message(BaseModel):
    """What happens, for people."""

    message: str = "The invitation is on its way, unless one was sent just now, or five today"


@router.post(_PATH, status_code=202)
@_ADMIN
@openapi.raises(ErrorCode.TOO_MANY_ATTEMPTS)
async def send_invitation(target: TargetDep, _: AdminDep, database: DatabaseDep, context: MailContextDep) -> Message:
    """Send an invitation again (admins only). It is good for 7 days, and the one before is not any more."""
    await database.write(rules.send_again, context, target.user_id)
    return Message()


@router.delete(_PATH, status_code=204, response_class=Response)
@_ADMIN
async def withdraw_invitation(target: TargetDep, admin: AdminDep, database: DatabaseDep) -> None:
    """Withdraw an invitation (admins only). The user stays, without a password."""
    await database.write(rules.withdraw, target.user_id, admin.user.id)


@router.post("/invitation/accept", status_code=204, response_class=Response, dependencies=[NOT_CROSS_SITE])
@openapi.raises(*NEW_PASSWORD_ERRORS)
async def accept_invitation(body: NewPasswordProof, client: ClientDep, request: Request) -> None:
    """Set the first password, with the mail's `token`, or with `login` and the mail's `code`. It works once."""
    await accept(request.app.state.services, body, client)


async def accept(services: Any, proof: NewPasswordProof, client: Client) -> None:
    """Set the first password of whoever was invited.

    Raises:
        ApiError: invalid_code, too_many_attempts, overloaded, database_unavailable, email_taken, and what
            `Strength.require` says.
    """
    await proofs.admit(services, client)
    new = await proofs.prepare(services, rules.INVITATION, proof, client)
    good = await services.database.write(rules.accept, services.keyring, proof, new)
    await proofs.settle(services, client, good=good)
