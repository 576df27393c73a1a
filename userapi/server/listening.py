"""The sockets that clients connect to: of an address, of a file, or passed on by whoever started the process."""

import ctypes
import socket
import struct
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from userapi.errors import Refusal
from userapi.server import systemd

BACKLOG = 2048  # connections that wait to be accepted, of each socket
_UDS_MODE = 0o666  # a proxy runs as another user: the folder says who may come near
_SO_ATTACH_FILTER = 26  # of Linux, see socket(7)
# Instructions of BPF, each a code, two jumps and a number, that drop a TCP packet which asks for a connection: of the
# flags in its byte 13, it has SYN (2) and not ACK (16).
_DROP_SYN = [(0x30, 0, 0, 13), (0x54, 0, 0, 18), (0x15, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF_FFFF)]


@dataclass(frozen=True)
class Place:
    """Where to listen: at `host` and `port`, or in their place at a Unix socket `uds`, or at the open socket `fd`."""

    host: str
    port: int
    uds: Path | None = None
    fd: int | None = None

    def bind(self) -> list[socket.socket]:
        """Return the sockets, which do not listen yet. What systemd passes on goes before `host` and `port`.

        Raises:
            Refusal: The place is taken or is none.
        """
        passed = systemd.sockets() if self.fd is None else [self.fd, *systemd.sockets()][:1]
        try:
            if self.uds is not None:
                return [_unix(self.uds)]
            if passed:
                return [socket.socket(fileno=fd) for fd in passed]
            return _internet(self.host, self.port)
        except OSError as error:
            raise Refusal(f"cannot listen: {error.strerror or error}") from error

    def leave(self, bound: list[socket.socket]) -> None:
        """Remove the file of the Unix socket, unless another process has put its own there."""
        for one in bound:
            if self.uds is not None and isinstance(one, _UnixSocket) and one.file == _file(self.uds):
                self.uds.unlink(missing_ok=True)


def listen(bound: list[socket.socket]) -> None:
    """Let clients connect.

    Raises:
        Refusal: Another process has begun to listen there meanwhile.
    """
    try:
        for one in bound:
            one.setblocking(False)
            one.listen(BACKLOG)
    except OSError as error:
        raise Refusal(f"cannot listen: {error.strerror or error}") from error


def admit_no_more(bound: list[socket.socket]) -> None:
    """Let nobody connect any more, so that those who have can be accepted to the last before the sockets are closed.

    Whoever is not accepted by then is cut off. Whoever asks in this moment is told that nobody listens when its system
    asks again, after a second. Sockets that were passed on stay as they are, for others have them, too.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    code = ctypes.create_string_buffer(program, len(program))
    for one in bound:
        if isinstance(one, _OwnSocket) and sys.platform == "linux":
            with suppress(OSError):  # the moment is short
                length_and_place = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(code))
                one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, length_and_place)


def shown(bound: socket.socket) -> str:
    """Return the address of a socket, as people type it."""
    name = bound.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host = "localhost" if name[0] in ("0.0.0.0", "::") else name[0]  # noqa: S104  # it is shown, not bound
    return f"http://[{host}]:{name[1]}" if ":" in host else f"http://{host}:{name[1]}"


class _OwnSocket(socket.socket):
    """A socket of an address that no other process has."""


class _UnixSocket(socket.socket):
    """A socket at a path, where it made this file."""

    file: tuple[int, int] | None = None


def _file(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from all others; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _internet(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as opened:
        bound: list[socket.socket] = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = opened.enter_context(_OwnSocket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            bound.append(one)
        opened.pop_all()  # all are bound: they stay open
    return bound


def _unix(path: Path) -> socket.socket:
    """Return a Unix socket at a path; a file that an earlier process left there goes."""
    if path.is_socket():
        with suppress(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            raise Refusal(f"cannot listen: another process listens at {path}")
        path.unlink()
    with ExitStack() as opened:
        one = opened.enter_context(_UnixSocket(socket.AF_UNIX))
        one.bind(str(path))
        one.file = _file(path)
        path.chmod(_UDS_MODE)
        opened.pop_all()
    return one
