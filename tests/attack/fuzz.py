"""Sends odd requests over sockets and looks at what comes back, at the log and at the process."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from tests.attack.arena import Arena, Target, Verdict, resident_mib
from tests.attack.odd import MARK, Odd, Tokens
from tests.attack.wire import Place
from tests.support.insides import LoginSession, User
from tests.support.people import ADMIN_PASSWORD, PASSWORD
from tests.support.schema import insert_admin
from tests.support.servers import Server

REQUESTS, BATCH = 20_000, 500
AT_ONCE = 32
PATIENCE = 2  # seconds to wait for an answer: some requests are not complete, and get none
GROWTH_MIB = 100
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_OVERLOADED = b'"code":"overloaded"'  # what a 503 may say while all cores hash passwords


@dataclass
class Found:
    """What odd requests came to: how often each status, and what should not have been."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        return ", ".join(f"{count} x {status or 'no answer'}" for status, count in sorted(self.statuses.items()))


def fuzz(target: Target, seed: int, count: int) -> Found:
    """Send odd requests to a service of one's own; return what came back."""
    assert target.server is not None
    found, odd, process = Found(), Odd(seed), target.server.process
    secrets = [MARK, "$2b$", "Traceback", ADMIN_PASSWORD]
    before = resident_mib(process.pid)
    for begun in range(0, count, BATCH):
        tokens = _new_people(target, target.server)
        secrets += tokens[:2]
        requests = odd.requests(min(BATCH, count - begun), tokens)
        asyncio.run(_send(target.place, requests, [each.encode() for each in secrets], found))
        if (code := process.poll()) is not None:
            found.wrong.append(f"the process ended: {code}")
            return found
    if target.ask("GET", "/health/ready").status_code != 200:
        found.wrong.append("it is not ready afterwards")
    if (grown := resident_mib(process.pid) - before) > GROWTH_MIB:
        found.wrong.append(f"its memory grew by {grown:.0f} MiB")
    told = (*secrets, "unexpected error", "ended with exit code")
    found.wrong += [f"in the log: {line[:300]}" for line in target.server.output if any(each in line for each in told)]
    return found


def _new_people(target: Target, server: Server) -> Tokens:
    """Put new people in the place of those whom odd requests have changed or deleted; log them in."""
    with server.engine.begin() as connection:
        for table in (LoginSession, User):
            connection.execute(sa.delete(table))
        insert_admin(connection)
    admin = target.admin._replace(username="admin", password=ADMIN_PASSWORD)
    token = target.grant(admin)["access_token"]
    body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    alice = target.ask("POST", "/users", token, json=body).json()["id"]
    pair = target.grant(admin._replace(username="alice", password=PASSWORD))
    return Tokens(token, pair["access_token"], (target.ask("GET", "/users/me", token).json()["id"], alice))


async def _send(place: Place, requests: Iterator[bytes], secrets: list[bytes], found: Found) -> None:
    async def client() -> None:
        for sent in requests:
            answer = await _answer(place, sent)
            statuses = [int(status) for status in _STATUS.findall(answer)]
            found.statuses.update(statuses[:1] or [0])
            bad = [each.decode() for each in secrets if each in answer]
            bad += [str(each) for each in statuses if each >= 500 and not (each == 503 and _OVERLOADED in answer)]
            if bad:
                found.wrong.append(f"{', '.join(bad)} to {sent[:300]!r}: {answer[:300]!r}")

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def _answer(place: Place, sent: bytes) -> bytes:
    """Send bytes; return what comes back until an answer is complete, nothing more comes or the connection ends."""
    reader, writer = await asyncio.open_connection(*place)
    answer = b""
    try:
        writer.write(sent)
        while not _complete(answer):
            async with asyncio.timeout(10 if answer and b"\r\n\r\n" not in answer else PATIENCE):
                part = await reader.read(2**20)
            if not part:
                break
            answer += part
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return answer


def _complete(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return bool(blank) and not head.startswith(b"HTTP/1.1 100") and (length is None or len(body) >= int(length[1]))


def private(arena: Arena, seed: int, count: int = REQUESTS) -> Verdict:
    """Send odd requests to a new service."""
    with arena.target(REGISTRATION_ENABLED="true", THROTTLE_ENABLED="false") as target:
        found = fuzz(target, seed, count)
    words = f"{count:,} odd requests, seed {seed}: {found.words}"
    return Verdict("F", not found.wrong, "; ".join([words, f"{len(found.wrong)} wrong", *found.wrong[:10]]))
