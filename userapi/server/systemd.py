"""What systemd gives a service and wants to hear from it: sockets (sd_listen_fds(3)) and its state (sd_notify(3)).

Both come in variables of the environment that are nobody's settings: systemd sets them for one process.
"""

import os
import socket
from contextlib import suppress

_FIRST_SOCKET = 3
_address: str | None = None


def sockets() -> list[int]:
    """Return the descriptors of the sockets that were passed on; none if systemd has not started this process.

    Called once, first of all: processes that this one starts do not see the variables any more.
    """
    global _address  # noqa: PLW0603  # a process has one
    _address = os.environ.pop("NOTIFY_SOCKET", None)
    meant_for, many = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    return list(range(_FIRST_SOCKET, _FIRST_SOCKET + int(many))) if meant_for == str(os.getpid()) else []


def notify(state: str) -> None:
    """Tell systemd a state, as `READY=1`, if it wants to hear it."""
    if _address is None:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(state.encode(), f"\0{_address[1:]}" if _address[0] == "@" else _address)
