"""The command line: `python -m userapi`."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import click
import uvicorn
from pydantic import TypeAdapter, ValidationError

from userapi import accounts, bootstrap, logs
from userapi.database import Database, sqlite_file
from userapi.errors import ApiError, ErrorCode
from userapi.models import Password, UserCreate
from userapi.security import Passwords
from userapi.settings import Settings, SettingsError, load_settings
from userapi.throttle import Throttle

R = TypeVar("R")

SHUTDOWN_SECONDS = 15  # to finish requests before connections are cut


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """User accounts as a REST service. Without a command: serve."""
    logging.getLogger("userapi").addHandler(logging.NullHandler())  # commands say what is wrong themselves
    if context.invoked_subcommand is None:
        context.invoke(serve)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that serve.")
@click.option("--reload", is_flag=True, help="Start again when the code changes (development).")
def serve(host: str, port: int, workers: int, reload: bool) -> None:
    """Prepare the database and serve."""
    settings = _settings()
    in_memory = settings.embedded and sqlite_file(settings.url) is None
    if in_memory and (workers > 1 or reload):
        _fail("a database in memory lives in one process: use a file, or one worker without --reload")
    if not in_memory:  # else the serving process prepares its own
        ready = _run(settings, lambda database, passwords: bootstrap.prepare(settings, database, passwords))
        click.echo("\n".join(ready.notes), nl=bool(ready.notes))
    click.echo(f"Interactive documentation: http://{'localhost' if host == '0.0.0.0' else host}:{port}/docs")  # noqa: S104
    uvicorn.run(
        "userapi.main:app",
        http="userapi.protocol:BoundedProtocol",
        host=host,
        port=port,
        workers=workers,
        reload=reload,
        server_header=False,
        access_log=False,
        log_config=logs.configuration(settings.log_format),
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


@cli.command()
def migrate() -> None:
    """Bring the database's schema to head."""
    settings = _settings()
    before, after = _run(settings, lambda database, _: bootstrap.upgrade(database))
    moved = f"is at {after} already" if before == after else f"went from {before or 'nothing'} to {after}"
    click.echo(f"The schema {moved}")


@cli.command()
@click.option("--username", help="Default: FIRST_ADMIN_USERNAME, or admin.")
@click.option("--email", help="Default: FIRST_ADMIN_EMAIL, or admin@example.com.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--promote", is_flag=True, help="If the user exists, make it an active admin; its password stays.")
def create_admin(username: str | None, email: str | None, password_stdin: bool, promote: bool) -> None:
    """Make an admin."""
    settings = _settings()
    username, email = username or settings.first_admin_username, email or settings.first_admin_email

    async def existing(database: Database, _: Passwords) -> bool:
        await bootstrap.require_head(database)
        return await database.read(accounts.credentials, username) is not None

    async def promoted(database: Database, _: Passwords) -> bool:
        return await database.write(accounts.promote, username)

    if _run(settings, existing):
        if not promote:
            _fail(f"{username} exists already; --promote makes it an active admin")
        changed = _run(settings, promoted)
        click.echo(f"{username} is an active admin{' now' if changed else ' already'}")
        return
    try:
        new = UserCreate(username=username, email=email, password=_new_password(password_stdin), is_admin=True)
    except ValidationError as error:
        _fail("; ".join(f"{item['loc'][0]}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()))

    async def created(database: Database, passwords: Passwords) -> None:
        accounts.refuse_guessable(new.password, new.username, new.email)
        await database.write(accounts.create, new, await passwords.hash(new.password))

    _run(settings, created)
    click.echo(f"{username} is made, an active admin")


@cli.command()
@click.argument("username")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
def set_password(username: str, password_stdin: bool) -> None:
    """Give a user a new password and end its sessions."""
    settings = _settings()

    async def require_user(database: Database, _: Passwords) -> None:
        await bootstrap.require_head(database)
        if await database.read(accounts.credentials, username) is None:
            raise ApiError(ErrorCode.USER_NOT_FOUND)

    _run(settings, require_user)
    try:
        password = TypeAdapter(Password).validate_python(_new_password(password_stdin))
    except ValidationError as error:
        _fail("; ".join(f"password: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()))

    async def changed(database: Database, passwords: Passwords) -> None:
        new = accounts.NewPassword(password, await passwords.hash(password))
        await database.write(accounts.set_password, username, new)

    _run(settings, changed)
    click.echo(f"{username} has a new password; its sessions are ended")


@cli.command()
@click.argument("username")
def unlock(username: str) -> None:
    """Let a user log in again at once that the throttle has locked out."""
    settings = _settings()
    if settings.throttle_storage_url is None:
        _fail("each server process keeps its own throttle: set THROTTLE_STORAGE_URL, or restart the service")
    throttle = Throttle(settings.throttle_storage_url)

    async def unlocked(database: Database, _: Passwords) -> None:
        for login in await database.read(accounts.logins, username):
            await throttle.forgive(login)
        if throttle.alone:
            raise bootstrap.Refusal("the throttle's storage does not answer")

    _run(settings, unlocked)
    click.echo(f"{username} may log in again")


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        _fail(str(error))


def _run(settings: Settings, work: Callable[[Database, Passwords], Coroutine[Any, Any, R]]) -> R:
    async def run() -> R:
        database, passwords = Database(settings.url), Passwords(settings.bcrypt_rounds)
        try:
            with bootstrap.usable(settings):
                return await work(database, passwords)
        finally:
            passwords.close()
            await database.close()

    try:
        return asyncio.run(run())
    except bootstrap.Refusal as error:
        _fail(str(error))
    except ApiError as error:
        _fail(str(error))


def _new_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        _fail("no terminal to ask for the password: use --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(1)
