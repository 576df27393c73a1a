"""The operator's command for key pairs."""

from pathlib import Path

import click

from userapi.kit import commands
from userapi.security import key_pairs


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--algorithm", type=click.Choice(key_pairs.ALGORITHMS), default="ES256", help="What it signs with.")
def make_key(file: Path, algorithm: str) -> None:
    """Make a private key for SIGNING_KEY_FILES and write it to a file, in PEM, for its owner only."""
    commands.refusing(lambda: key_pairs.make_key(file, algorithm))
    click.echo(f"A key for {algorithm} is in {file}")
