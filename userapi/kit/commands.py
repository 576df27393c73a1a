"""What commands share: they run with the services that the settings name, and say what is wrong in one sentence."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, TypeVar

import click
from pydantic import ValidationError

from userapi.errors import ApiError, Refusal
from userapi.kit import logs

R = TypeVar("R")

OpenServices = Callable[[], AbstractAsyncContextManager[Any]]  # what the context of a command carries


def run(work: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
    """Return what `work(services)` returns; end the process with exit code 1 if it is refused."""
    context = click.get_current_context()
    open_services: OpenServices = context.obj

    async def opened() -> R:
        logs.command.set(context.info_name)
        async with open_services() as services:
            return await work(services)

    return refusing(lambda: asyncio.run(opened()))


def be_quiet() -> None:
    """Log nothing: commands say what is wrong themselves."""
    for name in ("userapi", "asyncmy"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def refusing(work: Callable[[], R]) -> R:
    """Return what `work()` returns; end the process with exit code 1 if it is refused."""
    try:
        return work()
    except (Refusal, ApiError) as error:
        fail(str(error))
    except ValidationError as error:
        fail(broken_rules(error))


def new_password(from_stdin: bool) -> str:
    """Return a password: the first line of standard input, or what is typed twice at the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        fail("no terminal to ask for the password: use --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def broken_rules(error: ValidationError, prefix: str = "") -> str:
    """Return one sentence about fields that broke their rules: `prefix` and the name of each, and why."""
    reasons = ((str(item["loc"][0]), item["msg"].removeprefix("Value error, ")) for item in error.errors())
    return "; ".join(f"{prefix}{name.upper() if prefix else name}: {why}" for name, why in reasons)


def fail(message: str) -> NoReturn:
    """End the process with exit code 1 and a sentence on standard error."""
    click.echo(f"error: {message}", err=True)
    sys.exit(1)
