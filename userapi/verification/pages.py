"""The pages by which people verify an address, or undo a change of it, where there is no front end."""

from fastapi import Request, Response

from userapi.codes import rules as codes
from userapi.kit.web.dependencies import ClientDep, DatabaseDep
from userapi.mailboxes import pages
from userapi.mailboxes.pages import page
from userapi.mailboxes.proofs import MailProof
from userapi.users import rules as users
from userapi.verification import routes, rules
from userapi.verification.routes import LinkToken

router = pages.router()
routers = [routes.router, router]  # what this capability serves


@router.get("/account/verify")
async def ask_verify(request: Request, database: DatabaseDep, token: str = "") -> Response:
    """Show what would be verified; it consumes nothing."""
    words = "Type the code that the mail brought."
    if token:
        keyring = request.app.state.services.keyring
        found = await database.read(codes.find, keyring, rules.VERIFY, token)
        found = found or await database.read(codes.find, keyring, rules.CHANGE, token)
        if found is None:
            return pages.no_longer_good(request)
        user = await database.read(users.find, found[0])
        address = found[1] or user.email
        words = f"{address} becomes the address of the account {user.username}. Go on only if this account is yours."
    fields = pages.proof_fields(token)
    return page(request, "Verify your e-mail address", words, fields=fields, button="Verify the address")


@router.post("/account/verify")
async def verify(request: Request, client: ClientDep) -> Response:
    """Verify an address."""
    await routes.verify(request.app.state.services, await pages.form(request, MailProof), client)
    return page(request, "Your e-mail address is verified", "You may close this page.")


@router.get("/account/undo")
async def ask_undo(request: Request, database: DatabaseDep, token: str = "") -> Response:
    """Show what would be undone; it consumes nothing."""
    found = await database.read(rules.find_undo, request.app.state.services.keyring, token)
    if found is None:
        return pages.no_longer_good(request)
    user = await database.read(users.find, found[0])
    words = f"{found[1]} stays the address of the account {user.username}, and everybody is logged out of it."
    fields = pages.proof_fields(token)
    return page(request, "Undo the change of address", words, fields=fields, button="Undo the change")


@router.post("/account/undo")
async def undo(request: Request, client: ClientDep) -> Response:
    """Undo a change of address."""
    await routes.undo(request.app.state.services, (await pages.form(request, LinkToken)).token, client)
    words = "Whoever asked for the change knows your password: set a new one now, at /account/forgot."
    return page(request, "The change is undone", words)
