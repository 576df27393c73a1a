"""What a mail brought is sent back: a link's token, or a login and the code that was typed."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlmodel import Session

from userapi.codes import rules as codes
from userapi.codes.rules import Redeemed
from userapi.errors import ApiError, ErrorCode, refuse
from userapi.kit.web.client import Client
from userapi.mailboxes import rules as mailboxes
from userapi.models import MAX_EMAIL, Password, now
from userapi.proof import credentials, guards
from userapi.security import throttle
from userapi.security.keyring import Keyring
from userapi.users import rules as users
from userapi.users.changes import NewPassword

WRITE_ONLY: dict[str, Any] = {"format": "password", "writeOnly": True}


NEW_PASSWORD_ERRORS = (
    ErrorCode.INVALID_CODE,
    ErrorCode.EMAIL_TAKEN,
    ErrorCode.TOO_MANY_ATTEMPTS,
    ErrorCode.PASSWORD_TOO_COMMON,
    ErrorCode.PASSWORD_CONTAINS_USERNAME,
    ErrorCode.PASSWORD_CONTAINS_EMAIL,
    ErrorCode.PASSWORD_TOO_WEAK,
    ErrorCode.OVERLOADED,
    ErrorCode.DATABASE_UNAVAILABLE,
)


class MailProof(BaseModel):
    """The token of a mail's link, or else the code in the mail and whose it is."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: str | None = Field(None, max_length=100, json_schema_extra=WRITE_ONLY)
    login: str | None = Field(None, max_length=MAX_EMAIL, description="Username or e-mail address; with `code`")
    code: str | None = Field(None, max_length=50, examples=["WDJB-MJHT"], json_schema_extra=WRITE_ONLY)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.token and not (self.login and self.code):
            raise PydanticCustomError("proof_incomplete", "either token, or login and code are required")
        return self


class NewPasswordProof(MailProof):
    """A mail's proof, and the password that it is to set."""

    new_password: Password


def redeem(db: Session, keyring: Keyring, purpose: str, proof: MailProof) -> Redeemed | None:
    """Consume what proves that a mail was read; return None for what is not good, as `codes` does.

    What belongs to a user who is inactive is not good, either.
    """
    if proof.token:
        found = codes.find(db.connection(), keyring, purpose, proof.token)
        mailboxes.lock(db, found[0] if found else 0)
        redeemed = codes.redeem_token(db, keyring, purpose, proof.token)
    else:
        named = credentials.find(db.connection(), proof.login or "")
        mailboxes.lock(db, named.user_id if named else 0)
        redeemed = codes.redeem_code(db, keyring, purpose, proof.login or "", proof.code or "")
    return redeemed if redeemed is not None and redeemed.user.is_active else None


async def admit(services: Any, client: Client) -> None:
    """Let an address try a code, unless it has sent too many wrong ones, or wrong passwords.

    Raises:
        ApiError: too_many_attempts.
    """
    if services.throttle is None or client.ip is None or not await services.throttle.wait(None, client.ip):
        return
    for key, at in await services.database.read(guards.unlocked, [throttle.address_key(client.ip)]):
        await services.throttle.lift(key, (now() - at).total_seconds())
    if seconds := await services.throttle.wait(None, client.ip):
        raise ApiError(ErrorCode.TOO_MANY_ATTEMPTS, retry_after=seconds)


async def settle(services: Any, client: Client, *, good: bool) -> None:
    """Count a code that was wrong, and say so.

    Raises:
        ApiError: invalid_code.
    """
    if not good:
        if services.throttle is not None:
            await services.throttle.fail(None, client.ip)
        raise ApiError(ErrorCode.INVALID_CODE)


async def prepare(services: Any, purpose: str, proof: NewPasswordProof, client: Client) -> NewPassword:
    """Return the hash of a new password, if it is strong enough, before the unit that consumes the proof.

    Raises:
        ApiError: invalid_code, for a token that is none; overloaded, database_unavailable, and what
            `Strength.require` says. Of an account whose code is yet to be checked, nothing is told.
    """
    username = email = proof.login or ""
    if proof.token:
        whose = await services.database.read(codes.find, services.keyring, purpose, proof.token)
        await settle(services, client, good=whose is not None)
        user = await services.database.read(users.find, whose[0])
        username, email = user.username, user.email
    found = services.strength.form(proof.new_password)
    found += await services.strength.guessable(proof.new_password, username, email)
    for error in found:
        error.loc = ("body", "new_password")
    refuse(found)
    return NewPassword(proof.new_password, await services.passwords.hash(proof.new_password, client))
