"""Where a mail goes: to an SMTP server, into a folder, or to standard output."""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
import click

Transport = Callable[[EmailMessage], Awaitable[None]]


def transport(url: str) -> Transport:
    """Return what sends a mail to where a URL says, as the settings of mail take it.

    What it raises, `refused` can tell apart: any other error may pass.
    """
    parts = urlsplit(url)
    if parts.scheme == "console":
        return _print
    return _folder(Path(unquote(parts.path))) if parts.scheme == "file" else _smtp(parts)


def refused(error: Exception) -> bool:
    """Tell whether the server says that there is no such mailbox and will not be one (RFC 5321 section 4.2.1)."""
    replies = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    return all(isinstance(reply, aiosmtplib.SMTPRecipientRefused) and reply.code >= 500 for reply in replies)


def told(error: Exception, *, secret: bool) -> str:
    """Return what went wrong in a line. What a server says of a mail may repeat it: if it is secret, its codes only."""
    if secret and isinstance(error, aiosmtplib.SMTPDataError):
        status = re.match(r"\d\.\d{1,3}\.\d{1,3}\b", error.message)  # RFC 3463
        return f"SMTPDataError: {error.code} {status[0] if status else ''}".strip()
    return " ".join(f"{type(error).__name__}: {error}".split())


def _smtp(parts: SplitResult) -> Transport:
    implicit, never = parts.scheme == "smtps", parts.query == "starttls=never"
    options: dict[str, Any] = {
        "hostname": parts.hostname,
        "port": parts.port or (465 if implicit else 25 if never else 587),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "use_tls": implicit,
        "start_tls": not implicit and not never,  # true demands it: what a server does not offer, nobody took away
        "tls_context": None if never and not implicit else ssl.create_default_context(),  # once: it takes 30 ms
        "local_hostname": socket.gethostname(),  # aiosmtplib would ask the DNS, and everything would wait for it
    }

    async def send(message: EmailMessage) -> None:
        await aiosmtplib.send(message, **options)

    return send


def _folder(folder: Path) -> Transport:
    def write(message: EmailMessage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = message["Message-ID"].strip("<>").partition("@")[0]
        draft = folder / f".{name}.part"
        draft.touch(0o600)
        draft.write_bytes(message.as_bytes())
        draft.replace(folder / f"{name}.eml")  # nobody sees half of it; the same mail twice is one file

    async def send(message: EmailMessage) -> None:
        await asyncio.to_thread(write, message)

    return send


async def _print(message: EmailMessage) -> None:
    """Print a mail for whoever tries the service out; no log keeps it."""
    text = message.get_body(("plain",))
    shown = text.get_content().rstrip() if text is not None else ""
    click.echo(f"\n--- Mail to {message['To']}: {message['Subject']}\n\n{shown}\n---\n")
