"""Types of copies of the project, checked by mypy."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.fixture
def mypy_cache(pytestconfig: pytest.Config) -> Path:
    """What mypy knows of the libraries, which takes it most of its time: from one test, and one run, to the next."""
    return Path(pytestconfig.cache.mkdir("mypy"))


def mypy(folder: Path, cache: Path, *paths: str) -> str:
    """Return what `mypy --strict` says in a folder; nothing, if it finds nothing. One test after the other asks it."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = cache / "known"
        if not known.exists() and (ROOT / ".mypy_cache").exists():
            shutil.copytree(ROOT / ".mypy_cache", known)
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(known), *paths]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""
