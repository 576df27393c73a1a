"""The pages by which people get back into an account, where there is no front end."""

from fastapi import Request, Response

from userapi.codes import rules as codes
from userapi.kit.web.dependencies import ClientDep, DatabaseDep
from userapi.mail.dependencies import MailContextDep
from userapi.mailboxes import pages
from userapi.mailboxes.pages import LOGIN, PASSWORD, page
from userapi.mailboxes.proofs import NewPasswordProof
from userapi.recovery import routes, rules
from userapi.recovery.routes import Forgot
from userapi.users import rules as users

router = pages.router()
routers = [routes.router, router]  # what this capability serves


@router.get("/account/forgot")
async def ask_forgot(request: Request) -> Response:
    """Show the form that asks for a mail."""
    words = "We send a mail to the address of your account. It lets you set a new password."
    return page(request, "Forgot your password?", words, fields=(LOGIN,), button="Send the mail")


@router.post("/account/forgot")
async def forgot(request: Request, database: DatabaseDep, context: MailContextDep) -> Response:
    """Send the mail, if there is such an account."""
    body = await pages.form(request, Forgot)
    await database.write(rules.forgot, context, body.login)
    words = f"{routes.Message().message}. What it brings is good for 30 minutes."
    return page(request, "Look into your mailbox", words)


@router.get("/account/reset")
async def ask_reset(request: Request, database: DatabaseDep, token: str = "") -> Response:
    """Show the form that sets a new password; it consumes nothing."""
    words = "A new password is set for your account, and everybody is logged out of it, on all devices."
    if token:
        found = await database.read(codes.find, request.app.state.services.keyring, rules.RESET, token)
        if found is None:
            return pages.no_longer_good(request)
        user = await database.read(users.find, found[0])
        words = f"A new password is set for the account {user.username}, and everybody is logged out of it."
    fields = (*pages.proof_fields(token), PASSWORD)
    return page(request, "Set a new password", words, fields=fields, button="Set the password")


@router.post("/account/reset")
async def reset(request: Request, client: ClientDep) -> Response:
    """Set a new password."""
    await routes.reset(request.app.state.services, await pages.form(request, NewPasswordProof), client)
    return page(request, "Your password is set", "Log in with it now.")
