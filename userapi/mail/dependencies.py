"""What a route asks for that sends mails."""

from typing import Annotated

from fastapi import Depends, Request

from userapi.kit.web import addresses
from userapi.kit.web.dependencies import ClientDep
from userapi.mail.rules import Context


async def _context(request: Request, client: ClientDep) -> Context:
    """Return the context of mails that a client asks for.

    Without `APP_URL` links lead to the very socket that was asked, never to what the header `Host` says: whoever asks
    for another's mail could put a page of his own there.
    """
    services = request.app.state.services
    settings = services.settings
    host, port = request.scope.get("server") or (None, None)
    own = f"http://[{host}]:{port}" if ":" in (host or "") else f"http://{host}:{port}" if port else None
    counted = client.ip is not None and client.ip not in addresses.Exempt(settings.forwarded_allow_ips)
    network = addresses.network(client.ip) if counted else None
    return Context(services.keyring, network, settings.app_url or own)


MailContextDep = Annotated[Context, Depends(_context)]
