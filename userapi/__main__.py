"""The command line as a module: `python -m userapi`."""

from userapi.cli import cli

cli(prog_name="python -m userapi")
