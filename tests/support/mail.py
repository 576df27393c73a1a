"""Mail servers that tests start, and the mails that they have taken."""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.processes import ROOT, free_port, wait_until
from tests.support.smtp_server import PASSWORD, USER

APP = "https://app.example.com"  # where links lead in these tests


@cache
def certificate() -> str:
    """A file with a key and a certificate of 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = Path(tempfile.mkdtemp(prefix="userapi_certificate")) / "server.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return str(file)


@dataclass
class MailServer:
    """A running mail server."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    tls: bool
    scheme: str = "smtp"

    @property
    def settings(self) -> dict[str, str]:
        """What a service is told, to send its mails here."""
        if not self.tls:
            return {"MAIL_URL": f"{self.scheme}://127.0.0.1:{self.port}?starttls=never", "APP_URL": APP}
        login = f"{USER}:{quote(PASSWORD, safe='')}@"
        return {
            "MAIL_URL": f"{self.scheme}://{login}127.0.0.1:{self.port}",
            "SSL_CERT_FILE": certificate(),
            "APP_URL": APP,
        }

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails it has taken, the oldest first."""
        return read(self.folder)

    def to(self, recipient: str, count: int = 1) -> list[EmailMessage]:
        """The mails to an address, once there are so many."""
        wait_until(lambda: len(self._to(recipient)) >= count)
        return self._to(recipient)

    def _to(self, recipient: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == recipient]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def read(folder: Path) -> list[EmailMessage]:
    """The mails in a folder of `.eml` files, the oldest first."""
    files = sorted((file.stat().st_mtime_ns, file) for file in folder.glob("*.eml"))
    return [_parsed(file, written_at) for written_at, file in files]


@cache  # those who wait for a mail read all of them over and over
def _parsed(file: Path, _written_at: int) -> EmailMessage:
    mail = message_from_bytes(file.read_bytes(), policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """The text of a mail, or its HTML."""
    part: Any = mail.get_body((kind,))
    content: str = part.get_content()
    return content


def code_in(mail: EmailMessage) -> str:
    """The code that a mail brings."""
    (code,) = re.findall(r"\b[B-Z]{4}-[B-Z]{4}\b", text_of(mail))
    return str(code)


@contextmanager
def mail_server(
    behaviour: str = "deliver", first: int = 0, *, tls: bool = False, port: int | None = None
) -> Iterator[MailServer]:
    """A mail server that answers, ended afterwards; see `tests.support.smtp_server`."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="userapi_mail") as folder:
        arguments = [str(port), folder, behaviour, str(first), *([certificate()] if tls else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.smtp_server", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        with contextlib.closing(process.stdout):
            assert process.stdout.readline() == "ready\n"
            server = MailServer(process, port, Path(folder), tls, "smtps" if behaviour == "smtps" else "smtp")
            try:
                yield server
            finally:
                server.kill()
