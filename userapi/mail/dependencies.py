"""What a route asks for that sends mails, and a listener that is given no request."""

from typing import Annotated, Any

from fastapi import Depends, Request

from userapi.kit import logs
from userapi.kit.web import addresses
from userapi.mail.rules import Context


def context(services: Any, *, counted: bool = True) -> Context:
    """Return the context of mails that the present request asks for; `counted` on its network, unless exempt.

    Without `APP_URL` links lead to the very socket that was asked, never to what the header `Host` says: whoever asks
    for another's mail could put a page of his own there.
    """
    settings = services.settings
    ip = addresses.plain(logs.address.get())
    host, port = addresses.socket.get() or (None, None)
    own = f"http://[{host}]:{port}" if ":" in (host or "") else f"http://{host}:{port}" if port else None
    counted = counted and ip is not None and ip not in addresses.Exempt(settings.forwarded_allow_ips)
    return Context(services.keyring, addresses.network(ip) if counted else None, settings.app_url or own)


async def _context(request: Request) -> Context:
    return context(request.app.state.services)


MailContextDep = Annotated[Context, Depends(_context)]
