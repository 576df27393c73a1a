"""Attacks on the server under the application: pipelines, half-open and slow connections, bodies of the wrong kind."""

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx

from tests.attack.arena import Arena, Target, Verdict, code_of, new_password, resident_mib
from tests.attack.limited import HARD
from tests.attack.wire import Place, closed_within, exchange, request
from tests.support.databases import new_database

PIPELINES, PIPELINE_BYTES, PIPELINES_MIB = 40, 256 * 1024, 100
HALF_OPEN = 1100
HEAD_SECONDS, IDLE_SECONDS, MARGIN = 10, 75, 5
ONE = request("GET", "/health/live")
ANSWER_SECONDS = 2


def connections(arena: Arena) -> Iterator[Verdict]:
    """Item 11."""
    if not arena.private:
        with arena.target() as target:
            yield from _all(target, arena.quick)
        return
    with new_database("sqlite") as url, arena.service(url, ("tests.attack.limited", "userapi", "serve")) as target:
        yield from _all(target, arena.quick)
        assert target.server is not None
        limits = Path(f"/proc/{target.server.process.pid}/limits").read_text()
        soft = next(int(line.split()[3]) for line in limits.splitlines() if line.startswith("Max open files"))
        yield Verdict(11, soft == HARD, f"the soft file limit of the service: {soft} of {HARD}")


def _all(target: Target, quick: bool) -> Iterator[Verdict]:
    yield from _bodies(target)
    yield asyncio.run(_short_pipeline(target.place))
    yield asyncio.run(_pipelines(target))
    yield asyncio.run(_slow_heads(target.place))
    yield asyncio.run(_half_open(target.place))
    if not quick:
        yield asyncio.run(_idle(target.place))


def _bodies(target: Target) -> Iterator[Verdict]:
    """Bodies that /token, /revoke and /users do not take."""
    form = "application/x-www-form-urlencoded"
    fields = {"username": target.admin.username, "password": new_password(), "token": "x"}
    for path in ("/token", "/revoke"):
        parts = target.ask("POST", path, files={name: (None, value) for name, value in fields.items()})
        plain = target.ask("POST", path, json=fields)
        large = target.ask("POST", path, data=fields | {"scope": "x" * 8192})
        many = target.ask("POST", path, data=fields | {f"x{number}": "" for number in range(33)})
        yield _refused(parts, 415, f"multipart to {path}")
        yield _refused(plain, 415, f"JSON to {path}", form)
        yield _refused(large, 413, f"more than 8 KiB to {path}")
        yield _refused(many, 413, f"more than 32 fields to {path}")
    honest = target.ask(
        "POST",
        "/token",
        content=f"username={target.admin.username}&password={target.admin.password}",
        headers={"Content-Type": f"{form}; charset=UTF-8"},
    ).status_code
    yield Verdict(11, honest == 200, f"an honest form with its charset: {honest}")
    token = target.grant(target.admin)["access_token"]
    users = target.ask("POST", "/users", token, data={"username": "mallory"})
    held = users.status_code in {415, 422} and "application/json" in users.text
    yield Verdict(11, held, f"a form to /users: {users.status_code} {code_of(users)}, names what to send: {held}")


def _refused(answer: httpx.Response, status: int, words: str, named: str = "") -> Verdict:
    body = answer.json() if answer.headers.get("Content-Type") == "application/json" else {}
    shaped = body.keys() >= {"detail", "code", "error"}
    held = answer.status_code == status and shaped and named in str(body.get("detail"))
    return Verdict(11, held, f"{words}: {answer.status_code} {code_of(answer)}, error={body.get('error')}")


async def _short_pipeline(place: Place) -> Verdict:
    """Send 16 requests at once, which is allowed."""
    reader, writer = await asyncio.open_connection(*place)
    writer.write(ONE * 16)
    answers = 0
    with suppress(TimeoutError, EOFError, OSError):
        async with asyncio.timeout(10):
            while answers < 16:
                await reader.readuntil(b"HTTP/1.1 200")
                answers += 1
    writer.close()
    return Verdict(11, answers == 16, f"16 requests sent at once on a connection: {answers} answered")


async def _pipelines(target: Target) -> Verdict:
    sent = ONE * (PIPELINE_BYTES // len(ONE))
    pid = target.server.process.pid if target.server else None
    before = most = resident_mib(pid) if pid else 0.0
    open_ones = [await asyncio.open_connection(*target.place) for _ in range(PIPELINES)]
    for _, writer in open_ones:
        writer.write(sent)
    slowest, end = 0.0, time.monotonic() + 5
    while time.monotonic() < end:
        answer = await exchange(target.place, ONE, 10)
        slowest = max(slowest, answer.seconds if answer.status == 200 else 10)
        most = max(most, resident_mib(pid)) if pid else 0.0
        await asyncio.sleep(0.05)
    for _, writer in open_ones:
        writer.transport.abort()
    words = f"{PIPELINES} connections of {PIPELINE_BYTES // 1024} KiB of pipelined requests"
    grown = f"{before:.0f} to {most:.0f} MiB" if pid else "memory unknown"
    held = most - before < PIPELINES_MIB and slowest < ANSWER_SECONDS
    return Verdict(11, held, f"{words}: {grown}, another's slowest answer {slowest:.2f} s")


async def _slow_heads(place: Place) -> Verdict:
    """Send heads a byte a second, which are never complete."""

    async def slow() -> bool:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"GET /health/live HTTP/1.1\r\nX: ")

        async def drip() -> None:
            with suppress(OSError):
                while True:
                    await asyncio.sleep(1)
                    writer.write(b"x")
                    await writer.drain()

        dripping = asyncio.create_task(drip())
        closed = await closed_within(reader, HEAD_SECONDS + MARGIN)
        dripping.cancel()
        writer.close()
        return closed is not None

    closed = sum(await asyncio.gather(*(slow() for _ in range(50))))
    return Verdict(11, closed == 50, f"50 heads at a byte a second: {closed} cut off in {HEAD_SECONDS + MARGIN} s")


async def _half_open(place: Place) -> Verdict:
    """Open more connections than the service has files for, and ask as one who comes after them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    open_ones = []
    with suppress(OSError, TimeoutError):
        for number in range(HALF_OPEN):
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_connection(*place)
            writer.write(b"GET /health/live HTTP/1.1\r\n" if number % 2 else b"")
            open_ones.append(writer)
    answers = [await exchange(place, ONE, 5) for _ in range(5)]
    for writer in open_ones:
        writer.transport.abort()
    after = await exchange(place, ONE, 5)
    slowest = max(answer.seconds for answer in answers)
    statuses = [answer.status for answer in (*answers, after)]
    words = f"{len(open_ones)} half-open connections: new clients get {statuses[:-1]}"
    held = set(statuses) == {200} and slowest < ANSWER_SECONDS and len(open_ones) == HALF_OPEN
    return Verdict(11, held, f"{words}, slowest {slowest:.2f} s; {statuses[-1]} once they are gone")


async def _idle(place: Place) -> Verdict:
    """Leave connections idle: one that never sent a byte, one that made a request."""

    async def idle(first: bytes) -> float | None:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(first)
        closed = await closed_within(reader, IDLE_SECONDS + 2 * MARGIN)
        writer.close()
        return closed

    silent, served = await asyncio.gather(idle(b""), idle(ONE))
    words = ", ".join("not closed" if each is None else f"closed after {each:.0f} s" for each in (silent, served))
    return Verdict(11, None not in {silent, served}, f"idle connections, one silent and one served: {words}")
