"""Addresses of clients: read, reduced to what one client holds, and believed or not."""

import ipaddress
import logging
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

socket: ContextVar[tuple[str, int | None] | None] = ContextVar("socket", default=None)  # that a request came to

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_warned = False


@lru_cache(1000)  # clients come more than once
def parse(text: str | None) -> Address | None:
    """Return the address of a text, the IPv4 one inside where IPv6 carries one; None for what is no address."""
    try:
        found = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if found.version == 4:
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.ipv4_mapped or found.sixtofour or found


def plain(text: str | None) -> str | None:
    """Return an address in the one form in which it is kept and shown; None for what is no address."""
    found = parse(text)
    return None if found is None else str(found)


def network(text: str | None) -> str | None:
    """Return what one client holds: an IPv4 address, or the /64 of an IPv6 one; None for what is no address."""
    found = parse(text)
    if found is None:
        return None
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


class Exempt:
    """The addresses that are never locked: loopback, and the proxies that speak for others."""

    def __init__(self, proxies: str = "") -> None:
        """Take the proxies' addresses and networks, separated by commas; what is neither is passed over."""
        self._networks = []
        for part in proxies.split(","):
            try:
                self._networks.append(ipaddress.ip_network(part.strip(), strict=False))
            except ValueError:
                continue

    def __contains__(self, text: str) -> bool:
        """Tell whether an address is one of them."""
        found = parse(text)
        return found is not None and (found.is_loopback or any(found in one for one in self._networks))


def warn_of_untrusted(scope: Any) -> None:
    """Warn, once a process, of a forwarded address that was not believed: the server took none of those it names."""
    global _warned  # noqa: PLW0603
    if _warned:
        return
    given = next((value for name, value in scope["headers"] if name == b"x-forwarded-for"), None)
    if given is None or not scope.get("client") or scope["client"][0] in given.decode("latin-1"):
        return
    _warned = True
    log.warning(
        "X-Forwarded-For of %s is not believed: if it is your proxy, see FORWARDED_ALLOW_IPS", scope["client"][0]
    )
