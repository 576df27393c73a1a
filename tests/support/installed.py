"""What tests and the benchmark install beside the project: once for each list of versions, in a folder of its own."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def installed(kind: str, pins: Path) -> Iterator[tuple[Path, bool]]:
    """Yield a folder, outside of the project, for what `pins` names, and whether all that is there already."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "userapi-tests"
    folder = cache / f"{kind}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, (folder / "done").exists()
        (folder / "done").touch()


def programs(pins: Path) -> Path:
    """Return the folder with the programs that pip installs of `pins`, beside a Python of their own.

    Raises: RuntimeError, with pip's words, if they are absent and cannot be had.
    """
    with installed("pip", pins) as (folder, there):
        if not there:
            made = str(folder / "venv")
            for command in (
                [sys.executable, "-m", "venv", made],
                [f"{made}/bin/pip", "install", "-q", "-r", str(pins)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{pins.name} cannot be installed: {done.stderr[-1000:]}")
        return folder / "venv/bin"
