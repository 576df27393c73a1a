"""bcrypt's hashes, made and checked by the system's libcrypt where that can: a sixth faster than by the package.

libxcrypt, which nearly every Linux has, provides `crypt_rn` (crypt(3)). At cost 12 a check takes 200 ms with it, and
240 with the package. Elsewhere, as on musl and macOS, the package does all.
"""

import ctypes
import hmac
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import bcrypt

from userapi.models import MAX_PASSWORD_BYTES

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")  # with the interface of old programs, and without it
_ROOM = 32_768  # bytes that libcrypt works in (`CRYPT_DATA_SIZE`)
_KNOWN = (b"U*U", b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")  # of the tests of bcrypt's authors
_HASH = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")


def hashable(secret: bytes) -> bool:
    """Tell whether bcrypt takes all of a secret: beyond 72 bytes it takes none, and some take none after a zero."""
    return len(secret) <= MAX_PASSWORD_BYTES and b"\0" not in secret


def cost_of(hashed: str) -> int | None:
    """Return the cost that a hash was made at; None if it is not one of bcrypt's."""
    found = _HASH.fullmatch(hashed)
    return int(found[1]) if found else None


def make(secret: bytes, cost: int) -> str:
    """Return a hash of a secret with a new salt. `cost` is the base-2 logarithm of bcrypt's iterations (4 to 31).

    Raises:
        ValueError: The secret is not `hashable`.
    """
    if not hashable(secret):
        raise ValueError("bcrypt would hash a part of this secret")
    return _hash(secret, bcrypt.gensalt(cost)).decode()


def check(secret: bytes, hashed: str) -> bool:
    """Tell whether a secret has this hash. One that is not `hashable` has none; no secret has what is no hash."""
    if cost_of(hashed) is None or not hashable(secret):
        return False
    try:
        # `$2a$` and `$2y$` are the same as `$2b$`; libcrypt would look for errors of old programs in the first.
        found = _hash(secret, b"$2b" + hashed[3:].encode())
    except ValueError:  # its salt has bits to spare, which the package refuses
        return False
    return hmac.compare_digest(found[3:], hashed[3:].encode())


def of_system() -> Callable[[bytes, bytes], bytes] | None:
    """Return what makes a hash of a secret and a salt by the system's libcrypt; None if nothing does so rightly."""
    for name in _LIBRARIES:
        with suppress(OSError, AttributeError, ValueError):  # no such library, no such function, no bcrypt
            crypt_rn = ctypes.CDLL(name).crypt_rn
            crypt_rn.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
            crypt_rn.restype = ctypes.c_char_p
            hashed = partial(_with, crypt_rn)
            if hashed(*_KNOWN) == _KNOWN[1]:
                return hashed
    return None


def _with(crypt_rn: Callable[..., bytes | None], secret: bytes, salt: bytes) -> bytes:
    made = crypt_rn(secret, salt, ctypes.create_string_buffer(_ROOM), _ROOM)
    if made is None:
        raise ValueError("not a salt of bcrypt")
    return made


_hash = of_system() or bcrypt.hashpw
