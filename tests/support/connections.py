"""Bare connections to a service, for requests that no client would make."""

import socket

from tests.support.servers import Server

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


def connect(server: Server, timeout: float = 30) -> socket.socket:
    """Connect to a service; `timeout` is in seconds."""
    host, port = server.base_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=timeout)
