"""The command line: `python -m userapi`."""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from userapi import __version__
from userapi.errors import Refusal
from userapi.server import supervisor
from userapi.server.files import connection_limit
from userapi.server.listening import Place

SUPERVISED = sys.platform != "win32"  # where a process can pass an open connection to another


class _Commands(click.Group):
    """A group whose options, where no command is named, are those of `serve`; it imports the others when asked."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put `serve` before options that are not the group's own."""
        own = {name for parameter in self.get_params(context) for name in parameter.opts}
        if not args or (args[0].startswith("-") and args[0].partition("=")[0] not in own):
            args = ["serve", *args]
        return super().parse_args(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return ["serve", *self._others(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command."""
        return serve if name == "serve" else self._others(context).get(name)

    def _others(self, context: click.Context) -> dict[str, click.Command]:
        found: dict[str, click.Command] = import_module("userapi.commands").all_commands(context)
        return found


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="userapi")
def cli() -> None:
    """User accounts as a REST service. Without a command: serve."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--uds", type=click.Path(path_type=Path), help="Unix socket to listen on, in place of an address.")
@click.option("--fd", type=click.IntRange(3), help="Open socket to listen on, passed on by what starts the service.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that serve.")
@click.option("--root-path", help="Path under which a proxy serves this, in place of ROOT_PATH.")
@click.option("--reload", is_flag=True, help="Start again when the code changes (development).")
def serve(
    host: str, port: int, uds: Path | None, fd: int | None, workers: int, root_path: str | None, reload: bool
) -> None:
    """Prepare the database and serve."""
    if root_path is not None:
        os.environ["ROOT_PATH"] = root_path  # the processes of workers read it there
    connection_limit()  # processes of workers inherit the raised limit of open files
    if reload or not SUPERVISED:
        import_module("userapi.worker").serve_alone(host, port, workers, reload=reload)
        return
    try:
        sys.exit(supervisor.run(Place(host, port, uds, fd), ["-m", "userapi.worker"], workers))
    except Refusal as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
