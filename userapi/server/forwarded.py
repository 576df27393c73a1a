"""What a proxy tells of the request that it passes on, and the path under which it does so."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)


class Forwarded(ProxyHeadersMiddleware):
    """Believes trusted proxies' `X-Forwarded-For`, `-Proto` and `-Prefix`, and knows the prefix that was configured."""

    def __init__(self, app: ASGIApp, trusted: str, root_path: str) -> None:
        """Stand before `app`; `trusted` are addresses and networks with commas between, or `*`."""
        super().__init__(app, trusted)  # type: ignore[arg-type]  # uvicorn types ASGI in its own words
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]  # as above
        """Set the prefix and pass on, with the path as the client sees it (ASGI's `root_path`)."""
        if scope["type"] == "http" and (prefix := self._prefix(scope)):
            scope["root_path"] = prefix
            if not f"{scope['path']}/".startswith(f"{prefix}/"):  # the proxy has cut it off
                scope["path"] = prefix + scope["path"]
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]  # as above

    def _prefix(self, scope: Scope) -> str:
        """Return the prefix that a trusted proxy tells, if it is a plain one, else the configured one."""
        told = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-prefix"), "")
        peer = scope["client"][0] if scope["client"] else None
        if peer in self.trusted_hosts and _PREFIX.fullmatch(told := told.rstrip("/")):
            return told
        return self._root_path
