"""The application: `uvicorn userapi.main:app`, or `create_app` with settings of one's own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from userapi import bootstrap, errors, logs
from userapi.database import Database
from userapi.edge import BodyLimit, Edge
from userapi.login import Login
from userapi.routes import auth, health, sessions, users
from userapi.security import Passwords, Tokens
from userapi.settings import Settings, SettingsError, load_settings
from userapi.throttle import Throttle

EXPOSED_HEADERS = ["Location", "Retry-After", "ETag", "Link", "X-Total-Count", "X-Request-ID"]


def create_app(settings: Settings) -> FastAPI:
    """Give the application; its lifespan connects, prepares and, at the end, closes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = database = Database(settings.url)
        app.state.passwords = passwords = Passwords(settings.bcrypt_rounds)
        try:
            secrets, notes = await bootstrap.prepare(settings, database, passwords)
            app.state.tokens = tokens = Tokens(secrets)
            throttle = Throttle(settings.throttle_storage_url) if settings.throttle_enabled else None
            app.state.login = Login(settings, database, passwords, tokens, throttle)
            print(*notes, sep="\n", end="\n" if notes else "", flush=True)
            yield
        finally:
            passwords.close()
            await database.close()

    app = FastAPIOffline(
        title="userapi",
        summary="User accounts: login, administration, self-service",
        version="1.0.0",
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # looked for at every request
    )
    errors.install(app)
    routers = [users.router, sessions.router, auth.router, health.router]
    routers += [users.registration] if settings.registration_enabled else []
    # include_router would make each request match twice, for 50 us; the documentation's own routes are tried last.
    app.router.routes[:0] = [route for router in routers for route in router.routes]
    app.add_middleware(BodyLimit)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Edge)
    app.add_middleware(_PlainRefusal)
    return app


class _PlainRefusal:
    """Replaces the traceback that Starlette makes of a refused start by its sentence."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plain(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, bootstrap.Refusal):
                message = {**message, "message": f"error: {error}"}
            await send(message)

        await self.app(scope, receive, plain if scope["type"] == "lifespan" else send)


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"error: {error}")
    logs.configure(settings.log_format)
    globals()["app"] = app = create_app(settings)
    return app
