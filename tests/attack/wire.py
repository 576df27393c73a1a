"""Requests over bare sockets: many at once, broken ones, slow ones."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Place = tuple[str, int]


class Answer(NamedTuple):
    """An answer, and how long it took; status 0 is none."""

    status: int
    text: bytes
    seconds: float


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def form(path: str, address: str, **fields: str) -> bytes:
    """Return the bytes of a form that comes from an address."""
    media = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": address, "Connection": "close"}
    return request("POST", path, media, urlencode(fields).encode())


async def exchange(place: Place, sent: bytes, seconds: float = 60) -> Answer:
    """Send bytes on a connection of their own and read one answer, for so long at most."""
    begun = time.monotonic()
    text, writer = b"", None
    with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(*place, limit=2**20)
            writer.write(sent)
            text = await reader.readuntil(b"\r\n\r\n")
            if length := _LENGTH.search(text):
                text += await reader.readexactly(int(length[1]))
    if writer is not None:
        writer.close()
    return Answer(int(text[9:12]) if text[9:12].isdigit() else 0, text, time.monotonic() - begun)


async def closed_within(reader: asyncio.StreamReader, seconds: float) -> float | None:
    """Wait until the server closes a connection; return after how long, None if it does not."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(65536):
                pass
    except TimeoutError:
        return None
    except OSError:
        pass
    return time.monotonic() - begun


def p99_ms(seconds: list[float]) -> float:
    """Return the 99th percentile, in milliseconds."""
    return sorted(seconds)[min(len(seconds) * 99 // 100, len(seconds) - 1)] * 1000 if seconds else float("inf")
