"""The signing keys: from the settings or, on SQLite, from a file beside the database."""

import os
import secrets
import shlex
import tempfile
from pathlib import Path

from userapi.errors import Refusal
from userapi.kit.database import KEY_ENDING, sqlite_file
from userapi.security.settings import SecuritySettings, check_secret, split_secrets


def signing_keys(settings: SecuritySettings) -> list[str]:
    """Return the signing keys, the one that signs first; make one on SQLite where there is none.

    Raises:
        Refusal: The key file holds no key that may be used, is no file, or is open to others.
    """
    if settings.secret_key is not None:
        return split_secrets(settings.secret_key.get_secret_value())
    database_file = sqlite_file(settings.url)
    if database_file is None:  # in memory: the users die with the process, so may the key
        return [secrets.token_hex(32)]
    key_file = database_file.with_name(database_file.name + KEY_ENDING)
    try:
        if not key_file.exists() and not key_file.is_symlink():
            _create_once(key_file, secrets.token_hex(32))
        return _read(key_file)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"the secret key in {key_file} cannot be made or read: {error}") from error


def _read(key_file: Path) -> list[str]:
    """Return the keys of a file, if they may be used and nobody but its owner can open it."""
    if key_file.is_symlink() and not key_file.exists():
        raise Refusal(f"{key_file} is to hold the secret key, but is a link to {key_file.readlink()}, which is missing")
    if not key_file.is_file():
        raise Refusal(f"{key_file} is to hold the secret key, but is no file")
    kept = split_secrets(key_file.read_text())
    try:
        for secret in kept:
            check_secret(secret)
    except ValueError as error:
        raise Refusal(f"the secret key in {key_file} {error}") from error
    require_private(key_file, "secret key")
    return kept


def require_private(key_file: Path, kind: str) -> None:
    """Check that nobody but its owner can open a file with a key of some kind.

    Raises:
        Refusal: Others can.
    """
    if os.name == "posix" and key_file.stat().st_mode & 0o077:
        path = shlex.quote(str(key_file))
        raise Refusal(f"the {kind} in {key_file} can be read by others: take that from them with chmod 600 {path}")


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
