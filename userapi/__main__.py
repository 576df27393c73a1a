from userapi.cli import cli

cli(prog_name="python -m userapi")
