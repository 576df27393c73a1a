"""Asks a service whether it lives, from a process of its own: `python -m tests.attack.watch URL SECONDS`."""

import http.client
import sys
import time
from urllib.parse import urlsplit

import click

from tests.attack.wire import p99_ms

PAUSE = 0.01


def watch(url: str, seconds: float) -> tuple[list[float], int]:
    """Ask for /health/live over and over; return how long each answer took, and how many were not 200."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    took, failed = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            answer.read()
            failed += answer.status != 200
        except (OSError, http.client.HTTPException):
            connection.close()
            failed += 1
        took.append(time.monotonic() - begun)
        time.sleep(PAUSE)
    return took, failed


if __name__ == "__main__":
    found, failures = watch(sys.argv[1], float(sys.argv[2]))
    click.echo(f"{p99_ms(found):.1f} {max(found) * 1000:.1f} {len(found)} {failures}")
