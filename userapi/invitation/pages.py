"""The page by which whoever was invited sets a password, where there is no front end."""

from fastapi import Request, Response

from userapi.codes import rules as codes
from userapi.invitation import routes, rules
from userapi.kit.web.dependencies import ClientDep, DatabaseDep
from userapi.mailboxes import pages
from userapi.mailboxes.pages import PASSWORD, page
from userapi.mailboxes.proofs import NewPasswordProof
from userapi.users import rules as users

router = pages.router()
routers = [routes.router, router]  # what this capability serves


@router.get("/account/invitation")
async def ask_accept(request: Request, database: DatabaseDep, token: str = "") -> Response:
    """Show the form that sets the first password; it consumes nothing."""
    words = "Your account gets its first password."
    if token:
        found = await database.read(codes.find, request.app.state.services.keyring, rules.INVITATION, token)
        if found is None:
            return pages.no_longer_good(request)
        user = await database.read(users.find, found[0])
        words = f"Your account gets its first password. Its username is {user.username}, its address {user.email}."
    fields = (*pages.proof_fields(token), PASSWORD)
    return page(request, "Welcome", words, fields=fields, button="Set the password")


@router.post("/account/invitation")
async def accept(request: Request, client: ClientDep) -> Response:
    """Set the first password."""
    await routes.accept(request.app.state.services, await pages.form(request, NewPasswordProof), client)
    return page(request, "Your password is set", "Log in with it now.")
