"""Load on a server over HTTP: by wrk or, without it, by a small keep-alive client of asyncio."""

import asyncio
import itertools
import json
import math
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.bench.machine import cpu_seconds, settle
from tests.bench.servers import Server

ANSWER_SECONDS = 60
HANG_SECONDS = 10  # a starved machine is no deadlock
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_cells = itertools.count()


@dataclass(frozen=True)
class Request:
    """A request; in its body `{n}` stands for something never sent before, `{age}` for another age than last time."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def varies(self) -> bool:
        return "{n}" in self.body or "{age}" in self.body

    def varied(self, tag: str, count: int) -> "Request":
        """The request with its placeholders filled in."""
        body = self.body.replace("{n}", f"{tag}_{count}").replace("{age}", str(count % 120 + 1))
        return Request(self.method, self.path, self.headers, body)

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", self.body]).encode()


Chain = Generator[Request, bytes, None]  # takes the body of the answer before, gives the next request


@dataclass(frozen=True)
class Load:
    """Requests to a server: a list taken in turn, or one chain a connection where each depends on the answer before.

    A `slow` load waits for its last answers; wrk would not, and may not see a single one.
    """

    server: Server
    requests: Sequence[Request] = ()
    chain: Callable[[], Chain] | None = None
    slow: bool = False


@dataclass(frozen=True)
class Sample:
    """What one load, or one loop, came to; `errors` are answers other than 2xx and 3xx, and broken connections."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None = None
    errors: int = 0
    example: str = ""  # of an error, where one is known


@dataclass(frozen=True)
class _Outcome:
    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float
    handled: int  # by the server: what was under way when the load stopped included
    example: str = ""


def measure(load: Load, wrk: str | None, connections: int, seconds: float, *, alone: bool = True) -> Sample:
    """Put the load on its server; `wrk` is the path of the program, if it is to be used.

    Its CPU time is counted only for a load that is alone.
    """
    tag = str(next(_cells))
    bundled = wrk is None or load.slow or load.chain is not None
    chains = [load.chain() if load.chain else _in_turn(load, tag, i, connections) for i in range(connections)]
    begun = [(chain, next(chain)) for chain in (chains if bundled else [])]  # a chain may begin with a login
    before = cpu_seconds(load.server.pid)
    if wrk is None or bundled:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_bundled(load.server.port, begun, seconds))
    else:
        outcome = _wrk(wrk, load, tag, connections, seconds)
    errors, example, cpu = outcome.errors, outcome.example, None
    if not outcome.requests:
        errors, example = errors or connections, example or "no answer at all"
    if alone:
        settle(load.server.pid)
        after = cpu_seconds(load.server.pid)
        cpu = None if before is None or after is None else (after - before) * 1e6 / max(outcome.handled, 1)
        if not load.server.answers(HANG_SECONDS):  # idle, and yet it does not: a deadlock holds what was under way
            errors, example = errors + connections, example or f"idle, but no answer within {HANG_SECONDS} s"
            load.server.restart()
    return Sample(outcome.requests / outcome.seconds, outcome.p50, outcome.p99, cpu, errors, example)


def quantiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """Give median and 99th percentile in milliseconds."""
    if len(seconds) < 2:
        return (seconds[0] * 1e3,) * 2 if seconds else (math.nan, math.nan)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1e3, cuts[98] * 1e3


_SCRIPT = """
local requests, tag, count, first = {%(requests)s}, "%(tag)s", 0, %(first)d
function init()
  for _, r in ipairs(requests) do
    if not r.varies then r.text = wrk.format(r.method, r.path, r.headers, r.body) end
  end
end
function request()
  count = count + 1
  local r = requests[(first + count) %% #requests + 1]
  if r.text then return r.text end
  local body = r.body:gsub("{n}", tag .. "_" .. count):gsub("{age}", count %% 120 + 1)
  return wrk.format(r.method, r.path, r.headers, body)
end
function done(summary, latency)
  local e = summary.errors
  print(string.format('\\nRESULT {"requests": %%d, "seconds": %%f, "errors": %%d, "p50": %%f, "p99": %%f}',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def _lua(request: Request) -> str:
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in request.headers.items())
    body = json.dumps(request.body) if request.body else "nil"
    return (
        f"{{method = {json.dumps(request.method)}, path = {json.dumps(request.path)}, headers = {{{headers}}},"
        f" body = {body}, varies = {str(request.varies).lower()}}}"
    )


def _wrk(program: str, load: Load, tag: str, connections: int, seconds: float) -> _Outcome:
    with tempfile.TemporaryDirectory(prefix="userapi_") as folder:
        script = Path(folder, "load.lua")
        requests = ",\n".join(map(_lua, load.requests))
        first = random.randrange(len(load.requests))
        script.write_text(_SCRIPT % {"requests": requests, "tag": tag, "first": first}, "ascii")
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={ANSWER_SECONDS}s"]
        printed = subprocess.run(
            [program, *options, "-s", str(script), f"http://127.0.0.1:{load.server.port}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 2 * ANSWER_SECONDS,
            check=False,
        )
    _, found, result = printed.stdout.partition("RESULT ")
    if not found:
        raise RuntimeError(f"wrk failed: {printed.stdout[-1000:]}{printed.stderr[-1000:]}")
    figures = json.loads(result)
    return _Outcome(**figures, handled=figures["requests"] + connections)  # it leaves one a connection unanswered


def _in_turn(load: Load, tag: str, first: int, step: int) -> Chain:
    for count in itertools.count(first, step):
        request = load.requests[count % len(load.requests)]
        yield request.varied(tag, count) if request.varies else request


async def _bundled(port: int, chains: Sequence[tuple[Chain, Request]], seconds: float) -> _Outcome:
    latencies: list[float] = []
    errors: list[str] = []
    begun = time.perf_counter()
    await asyncio.gather(*(_talk(port, *chain, begun + seconds, latencies, errors) for chain in chains))
    elapsed = time.perf_counter() - begun
    handled = len(latencies)
    return _Outcome(handled, elapsed, len(errors), *quantiles_ms(latencies), handled, "".join(errors[:1]))


async def _talk(
    port: int, chain: Chain, request: Request, deadline: float, latencies: list[float], errors: list[str]
) -> None:
    """Send a chain's requests, one at least, over a connection, opened again if it breaks."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    begun = time.perf_counter()
                    writer.write(request.encode())
                    async with asyncio.timeout(ANSWER_SECONDS):
                        head = await reader.readuntil(b"\r\n\r\n")
                        body = await _body(reader, head)
                    latencies.append(time.perf_counter() - begun)
                    if head[9:10] not in {b"2", b"3"}:
                        errors.append(f"{request.method} {request.path} {head[9:12].decode()} {body[:200]!r}")
                    if time.perf_counter() > deadline:
                        return
                    request = chain.send(body)
            finally:
                writer.close()
        except (OSError, EOFError, TimeoutError) as error:
            errors.append(f"{request.method} {request.path} {error!r}")
            if time.perf_counter() > deadline:
                return
            await asyncio.sleep(0.05)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if length := _LENGTH.search(head):
        return await reader.readexactly(int(length[1]))
    body = b""
    if _CHUNKED.search(head):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return body
