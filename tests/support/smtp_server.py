"""A mail server as a process: `python -m tests.support.smtp_server PORT FOLDER BEHAVIOUR FIRST [CERTIFICATE]`.

The BEHAVIOUR is what the first FIRST mails meet; those after them are delivered. With a CERTIFICATE it speaks TLS, at
once for the behaviour `smtps` and by STARTTLS otherwise, and wants the login of `USER`.
"""

import asyncio
import functools
import itertools
import ssl
import sys
from pathlib import Path
from typing import Any

import click
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "postman", "Letter/Box@7"


class Postman:
    """Delivers into a folder, a file a mail, or does what it is told to do first."""

    def __init__(self, folder: Path, behaviour: str, first: int) -> None:
        self._folder, self._behaviour, self._first = folder, behaviour, first
        self._seen = itertools.count()

    def _now(self, behaviour: str) -> bool:
        return self._behaviour == behaviour and next(self._seen) < self._first

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._now("later"):
            return "451 4.3.0 come again later"
        if self._now("unknown"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        if self._now("refuse"):
            return f"554 5.7.1 not this: {content.decode(errors='replace')[-400:]!r}"
        draft = self._folder / f"{next(COUNT)}.draft"
        draft.write_bytes(f"X-From: {envelope.mail_from}\r\nX-To: {envelope.rcpt_tos}\r\n".encode() + content)
        draft.rename(draft.with_suffix(".eml"))
        if self._now("drop"):
            transport: Any = server.transport
            transport.abort()
        if self._now("stall"):
            await asyncio.sleep(3600)
        return "250 2.0.0 delivered"


COUNT = itertools.count()


def login(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
    """Take one login only."""
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing, ever."""
    await asyncio.sleep(3600)


async def main(port: str, folder: str, behaviour: str, first: str, certificate: str = "") -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    implicit = behaviour == "smtps"
    options: dict[str, Any] = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if context is not None:
        options |= {"authenticator": login, "auth_required": True, "auth_require_tls": not implicit}
        options |= {} if implicit else {"tls_context": context, "require_starttls": True}
    postman = Postman(Path(folder), behaviour, int(first))
    if behaviour == "hang":
        server = await asyncio.start_server(hang, "127.0.0.1", int(port))
    else:
        made = functools.partial(SMTP, postman, **options)
        server = await loop.create_server(made, "127.0.0.1", int(port), ssl=context if implicit else None)
    click.echo("ready")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
