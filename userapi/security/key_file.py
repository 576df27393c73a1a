"""The signing keys: from the settings or, on SQLite, from a file beside the database."""

import os
import secrets
import tempfile
from pathlib import Path

from userapi.errors import Refusal
from userapi.kit.database import sqlite_file
from userapi.settings import CoreSettings, check_secret, split_secrets


def signing_keys(settings: CoreSettings) -> list[str]:
    """Return the signing keys, the one that signs first; make one on SQLite where there is none.

    Raises:
        Refusal: The key file holds no key that may be used.
    """
    if settings.secret_key is not None:
        return split_secrets(settings.secret_key.get_secret_value())
    database_file = sqlite_file(settings.url)
    if database_file is None:  # in memory: the users die with the process, so may the key
        return [secrets.token_hex(32)]
    key_file = database_file.with_name(database_file.name + ".secret_key")
    if not key_file.exists():
        _create_once(key_file, secrets.token_hex(32))
    kept = split_secrets(key_file.read_text())
    try:
        for secret in kept:
            check_secret(secret)
    except ValueError as error:
        raise Refusal(f"the secret key in {key_file} {error}") from error
    return kept


def _create_once(path: Path, content: str) -> None:
    """Write a file for the owner only; whoever comes first wins, and nobody sees half of it."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
