"""HTTP/1.1 as uvicorn reads it, with a bound on what is not a request's body: request line, headers, trailers."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """httptools itself keeps headers of any size in memory, and joins their pieces in quadratic time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing received."""
        super().__init__(*args, **kwargs)
        self._steps = self._waiting_bytes = 0  # heads, bodies' pieces and ends so far; bytes since the last of them

    def data_received(self, data: bytes) -> None:
        """Refuse a connection on which 64 KiB came without a step forward."""
        steps = self._steps
        super().data_received(data)
        self._waiting_bytes = self._waiting_bytes + len(data) if steps == self._steps else 0
        if self._waiting_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        """Count the step."""
        self._steps += 1
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the step."""
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count the step."""
        self._steps += 1
        super().on_message_complete()
