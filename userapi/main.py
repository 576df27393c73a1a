"""The application: `uvicorn userapi.main:app`, or `create_app` with settings of one's own."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import click
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute, request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from userapi import __version__, settings
from userapi.capabilities import CAPABILITIES, Settings
from userapi.documentation import document, pages, root
from userapi.errors import Refusal
from userapi.kit import logs
from userapi.kit.web import problems
from userapi.kit.web.edge import BodyLimit, Edge, LastResort
from userapi.login import routes as login
from userapi.server.forwarded import Forwarded
from userapi.services import Services
from userapi.sessions import routes as sessions
from userapi.users import routes as users

EXPOSED_HEADERS = ["Location", "Retry-After", "ETag", "Link", "X-Total-Count", "X-Request-ID", "WWW-Authenticate"]


def create_app(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> FastAPI:
    """Return the application; its lifespan connects, prepares and, at the end, closes.

    `tell` is called with each line that the operator should read.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = services = await stack.enter_async_context(Services(settings))
            for line in await services.prepare():
                tell(line)
            for capability in CAPABILITIES:
                if capability.background is not None:
                    await stack.enter_async_context(capability.background(services))
            yield

    app = FastAPI(
        title="userapi",
        version=__version__,
        **document.ABOUT,
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,  # see `pages`
        redoc_url=None,
        redirect_slashes=False,
        **_options(settings),
    )
    problems.install(app)
    for router in (root.router, users.router, sessions.router, login.router):
        _include(app, router)
    for capability in CAPABILITIES:
        for router in capability.routers(settings):
            _include(app, router)
    document.install(app, composition=settings.password_composition)
    if settings.docs_enabled:
        pages.install(app)
    _add_layers(app, settings)
    return app


def _options(settings: Settings) -> dict[str, Any]:
    """Return what capabilities ask of FastAPI. Without one that traces, it need not look for telemetry all the time."""
    options: dict[str, Any] = {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
    for capability in CAPABILITIES:
        options |= capability.options(settings)
    return options


def _include(app: FastAPI, router: APIRouter) -> None:
    """Make the routes of a router the application's own: FastAPI's `include_router` looks twice for each request's.

    Raises:
        TypeError: A route is of a kind, or has a limit of its own, for which only `include_router` cares.
    """
    for route in router.routes:
        if not isinstance(route, APIRoute) or route.max_body_size is not None:
            raise TypeError(f"take app.include_router for {route}")
        own = copy(route)
        own.dependency_overrides_provider = app
        own.app = request_response(own.get_route_handler())
        app.router.routes.append(own)


def _add_layers(app: FastAPI, settings: Settings) -> None:
    """Put what every request goes through around the routes; the last one added is the outermost."""
    app.add_middleware(BodyLimit)
    app.add_middleware(LastResort)
    if settings.cors_origins:
        cors: dict[str, Any] = {"allow_methods": ["*"], "allow_headers": ["*"], "expose_headers": EXPOSED_HEADERS}
        cors["allow_credentials"] = "*" not in settings.cors_origins  # cookies are for origins with a name
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, max_age=settings.cors_max_age, **cors)
    app.add_middleware(Edge)
    if settings.forwarded_allow_ips or settings.root_path:
        app.add_middleware(Forwarded, trusted=settings.forwarded_allow_ips, root_path=settings.root_path)
    app.add_middleware(_PlainRefusal)


class _PlainRefusal:
    """Replaces the traceback that Starlette makes of a refused start by its sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plain(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, Refusal):
                message = {**message, "message": f"error: {error}"}
            await send(message)

        await self.app(scope, receive, plain if scope["type"] == "lifespan" else send)


if TYPE_CHECKING:
    app: FastAPI
else:

    def __getattr__(name: str) -> FastAPI:
        """Make `app` when a server asks for it: importing this module reads no settings."""
        if name != "app":
            raise AttributeError(name)
        try:
            chosen = settings.load(Settings)
        except Refusal as error:
            sys.exit(f"error: {error}")
        logs.configure(chosen.log_format)
        globals()["app"] = app = create_app(chosen, click.echo)
        return app
