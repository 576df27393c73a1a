"""What a route asks for that sends mails, and a listener that is given no request."""

from typing import Annotated, Any

from fastapi import Depends, Request

from userapi.kit import logs
from userapi.kit.web import addresses
from userapi.mail.rules import Context


def context(services: Any, *, counted: bool = True) -> Context:
    """Return the context of mails that the present request asks for; `counted` on its network, unless exempt."""
    ip = addresses.plain(logs.address.get())
    counted = counted and ip is not None and ip not in addresses.Exempt(services.settings.forwarded_allow_ips)
    return Context(services.keyring, addresses.network(ip) if counted else None)


async def _context(request: Request) -> Context:
    return context(request.app.state.services)


MailContextDep = Annotated[Context, Depends(_context)]
