"""HTTP/1.1 as uvicorn reads it, with bounds on what a client may leave us with: heads, pipelines, idle connections."""

import asyncio
import heapq
import re
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from userapi.server.files import connection_limit
from userapi.server.supervisor import SHUTDOWN_SECONDS

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10  # from the first byte of a request to the end of its head
IDLE_SECONDS = 75  # in which a client may let us wait: for a request, or for more of a body
LEAVING_SECONDS = 1  # before idle connections are closed at the end: a request may be on its way

# A request has two ends of lines or more: this many lines end no more than 16 requests, one begun before included.
_SIXTEEN_REQUESTS = re.compile(rb"(?:[^\n]*\n){31}")
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Flow(FlowControl):
    """Reads no more while something that was read waits to be parsed."""

    held = b""

    def resume_reading(self) -> None:
        """Resume, unless something waits."""
        if not self.held:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    uvicorn would parse all that comes into requests that wait, keep headers of any size, join their pieces in quadratic
    time, wait for the rest of a head for ever, and stop listening for good when the system has no more files.
    """

    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing received."""
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = IDLE_SECONDS
        self._steps = self._waiting_bytes = 0  # heads, bodies' pieces and ends so far; bytes since the last of them
        self._heard = self.loop.time()  # when something last came, or was answered
        self._head_since: float | None = None  # when the head that is not complete began
        self._watch: asyncio.TimerHandle | None = None
        self._leaving = False
        self._cycles: list[RequestResponseCycle] = []  # requests that are not answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Make room, and begin to watch the time."""
        super().connection_made(transport)
        if self.client is None:
            self.client = ("unix", 0)  # what FORWARDED_ALLOW_IPS may name, as it does addresses
        self.flow = _Flow(transport)
        self._watch = self.loop.call_later(HEAD_SECONDS, self._look)
        if len(self.connections) > connection_limit():
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._watch:
            self._watch.cancel()
        self.pipeline.clear()
        self.flow.held = b""
        super().connection_lost(exc)
        self._give_up()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read, and close the connection."""
        super().send_400_response(msg)
        self._give_up()

    def data_received(self, data: bytes) -> None:
        """Parse at most 16 requests; the rest waits until those before it are answered."""
        self._heard = self.loop.time()
        self.flow.held += data
        if not self.pipeline:
            self._parse()

    def on_response_complete(self) -> None:
        """Go on with what waits."""
        super().on_response_complete()
        self._heard = self.loop.time()
        if self._head_since is not None:
            self._head_since = self._heard
        if self.flow.held and not self.pipeline:
            self._parse()
            if not self.pipeline:
                self.flow.resume_reading()

    def _parse(self) -> None:
        while self.flow.held and not self.pipeline and not self.transport.is_closing():
            held = self.flow.held
            some = _SIXTEEN_REQUESTS.match(held)
            end = some.end() if some else len(held)
            self.flow.held = held[end:]
            self._feed(held[:end])
        if self.flow.held:
            self.flow.pause_reading()

    def _feed(self, data: bytes) -> None:
        """Refuse a connection on which 64 KiB came without a step forward."""
        steps = self._steps
        super().data_received(data)
        self._waiting_bytes = self._waiting_bytes + len(data) if steps == self._steps else 0
        if self._waiting_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        """Note the time."""
        self._head_since = self._heard
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count the step."""
        self._head_since = None
        self._steps += 1
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.keep_alive = self.cycle.keep_alive and not self._leaving
            self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete] + [self.cycle]

    def on_body(self, body: bytes) -> None:
        """Count the step."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count the step."""
        self._steps += 1
        super().on_message_complete()

    @property
    def answering(self) -> bool:
        """Whether a request is complete and not yet answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and (not cycle.more_body or bool(self.pipeline))

    def _look(self) -> None:
        """Close the connection if its client let us wait for too long; else look again when that may be."""
        now, next_look = self.loop.time(), float(HEAD_SECONDS)
        if not self.answering:
            end = self._heard + IDLE_SECONDS
            slow_head = self._head_since is not None
            if self._head_since is not None:
                end = min(end, self._head_since + HEAD_SECONDS)
            if now >= end and not self.transport.is_closing():
                if slow_head and (self.cycle is None or self.cycle.response_complete):
                    self.transport.write(_TIMEOUT)
                self.transport.close()
            next_look = max(min(next_look, end - now), 0.1)
        self._watch = self.loop.call_later(next_look, self._look)

    def shutdown(self) -> None:
        """Take no more than one request from here on: its answer says so, and ends the connection."""
        self._leaving = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LEAVING_SECONDS, self._leave)
        else:
            super().shutdown()
            self.loop.call_later(SHUTDOWN_SECONDS - 1, self._cut)

    def _leave(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()

    def _cut(self) -> None:
        """Close the connection if the rest of a body has not come; its request would be cancelled with a traceback."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not self.transport.is_closing():
            if not cycle.response_started:
                self.transport.write(_TIMEOUT)
            self.transport.close()

    def _give_up(self) -> None:
        """Tell each request that is not answered that nobody listens; uvicorn tells the newest alone."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    def _make_room(self) -> None:
        """Cut those connections, of all of this process, that have let us wait for longest."""
        alive = [one for one in self.connections if isinstance(one, BoundedProtocol) and not one.transport.is_closing()]
        excess = len(alive) - connection_limit()  # many come at once, and those cut are still among all
        if excess <= 0:
            return
        waiting = [one for one in alive if not one.answering or one.flow.write_paused]
        for one in heapq.nsmallest(max(excess, len(waiting) // 64), waiting, key=BoundedProtocol.since):
            one.transport.abort()

    def since(self) -> float:
        """Return since when the client has let us wait."""
        return self._heard if self._head_since is None else self._head_since
