"""A mail is rendered: one template a kind and language, with the blocks subject, text and html."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

FALLBACK = "en"


class Renderer:
    """Makes messages of templates: `<language>/<kind>.jinja` in a folder, and `frame.html` around the HTML."""

    def __init__(self, folders: Sequence[Path], sender: str) -> None:
        """Take the folders, in which the first template found counts, and the sender, as `Name <address>`."""
        options: dict[str, Any] = {"loader": FileSystemLoader(folders), "undefined": StrictUndefined}
        options |= {"trim_blocks": True, "lstrip_blocks": True}
        self._text = Environment(autoescape=False, **options)  # noqa: S701 - plain text, in which nothing is markup
        self._html = Environment(autoescape=True, **options)
        self._languages = {part.name.lower(): part.name for folder in folders for part in folder.iterdir()}
        name, address = parseaddr(sender)
        self.sender = Address(name, addr_spec=address)

    def message(
        self, kind: str, recipient: str, locale: str | None, values: Mapping[str, Any], message_id: str, at: datetime
    ) -> EmailMessage:
        """Return a mail as text and HTML (RFC 5322, RFC 2046 section 5.1.4), marked as automatic (RFC 3834).

        Raises:
            jinja2.TemplateError: A template is broken, or names a value that there is not.
        """
        names = [f"{language}/{kind}.jinja" for language in self._spoken(locale)]
        text, html = self._text.select_template(names), self._html.select_template(names)
        subject = " ".join(_block(text, "subject", values).split())
        language = (text.name or FALLBACK).partition("/")[0]
        frame = self._html.get_template("frame.html")
        to = _deliverable(recipient)
        message = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)  # RFC 6531, which not every server speaks
        message["From"] = self.sender
        message["To"] = Address(addr_spec=to) if to.isascii() else Address("", *to.rsplit("@", 1))
        message["Subject"] = subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{message_id}@{self.sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(_block(text, "text", values).strip() + "\n")
        body = Markup(_block(html, "html", values).strip())  # noqa: S704 - it was escaped as it was made
        message.add_alternative(frame.render(subject=subject, language=language, body=body), subtype="html")
        message["Content-Language"] = language
        return message

    def _spoken(self, locale: str | None) -> list[str]:
        """Return the languages to try, by cutting parts off the tag's end (RFC 4647 section 3.4)."""
        parts = (locale or "").lower().split("-")
        tags = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
        return [self._languages[tag] for tag in (*tags, FALLBACK) if tag in self._languages]


def _block(template: Template, name: str, values: Mapping[str, Any]) -> str:
    return "".join(template.blocks[name](template.new_context(dict(values))))


def _deliverable(address: str) -> str:
    """Return an address with its domain in ASCII (RFC 5891), which every mail server takes, where that can be."""
    try:
        return validate_email(address, check_deliverability=False).ascii_email or address
    except EmailNotValidError:
        return address
