"""The routes by which an address is verified, and a change of it undone."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from userapi.errors import ErrorCode
from userapi.kit.web import openapi
from userapi.kit.web.client import Client
from userapi.kit.web.dependencies import NOT_CROSS_SITE, ClientDep, DatabaseDep
from userapi.mail.dependencies import MailContextDep
from userapi.mailboxes import proofs
from userapi.mailboxes.proofs import WRITE_ONLY, MailProof
from userapi.sessions.caller import CallerDep
from userapi.verification import rules

router: APIRouter = openapi.router(
    prefix="/email",
    tags=["verification"],
)
_WRONG = openapi.raises(
    ErrorCode.INVALID_CODE, ErrorCode.EMAIL_TAKEN, ErrorCode.TOO_MANY_ATTEMPTS, ErrorCode.DATABASE_UNAVAILABLE
)


class LinkToken(BaseModel):
    """The token of a mail's link."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: str = Field(min_length=1, max_length=100, json_schema_extra=WRITE_ONLY)


class Message(BaseModel):
    """What happens, for people."""

    message: str = "If there is an address to verify, a mail is on its way to it"


@router.post("/verify/request", status_code=202)
async def request_verification(caller: CallerDep, database: DatabaseDep, context: MailContextDep) -> Message:
    """Ask for the mail that verifies the address that waits, `pending_email`, or else the present one."""
    await database.write(rules.ask_again, context, caller.user.id)
    return Message()


@router.post("/verify", status_code=204, response_class=Response, dependencies=[NOT_CROSS_SITE])
@_WRONG
async def verify_email(body: MailProof, client: ClientDep, request: Request) -> None:
    """Verify an address with the mail's `token`, or with `login` and the mail's `code`. It works once.

    An address that waited takes the other's place. Accounts that others have made with the address end.
    """
    await verify(request.app.state.services, body, client)


@router.post("/undo", status_code=204, response_class=Response, dependencies=[NOT_CROSS_SITE])
@_WRONG
async def undo_email(body: LinkToken, client: ClientDep, request: Request) -> None:
    """Undo a change of address with the `token` that the former address got. All sessions end."""
    await undo(request.app.state.services, body.token, client)


async def verify(services: Any, proof: MailProof, client: Client) -> None:
    """Verify an address.

    Raises:
        ApiError: invalid_code, email_taken, too_many_attempts, database_unavailable.
    """
    await proofs.admit(services, client)
    good = await services.database.write(rules.verify, services.keyring, proof)
    await proofs.settle(services, client, good=good)


async def undo(services: Any, token: str, client: Client) -> None:
    """Undo a change of address.

    Raises:
        ApiError: invalid_code, email_taken, too_many_attempts, database_unavailable.
    """
    await proofs.admit(services, client)
    good = await services.database.write(rules.undo, services.keyring, token)
    await proofs.settle(services, client, good=good)
