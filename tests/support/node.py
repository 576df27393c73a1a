"""Programs of Node: their packages are installed once, outside of the project, and stay for the next run."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.databases import skip_without

OLDEST = 20  # the first that has all of the Web's cryptography
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "userapi-tests"


def packages(project: Path) -> Path:
    """Return the folder of installed packages that a project's lock names; skip the test where they cannot be had."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        skip_without("clients", "there is no Node with its npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        skip_without("clients", f"Node is {version.strip()}, and {OLDEST} or newer is needed")
    folder = _CACHE / hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others wait for whoever is first
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(project / name, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                skip_without("clients", f"npm cannot install: {done.stderr[-300:]}")
            (folder / "complete").touch()
    return folder / "node_modules"


@contextmanager
def workspace(project: Path) -> Iterator[Path]:
    """A folder with a project's scripts beside its packages, gone afterwards."""
    modules = packages(project)
    with tempfile.TemporaryDirectory(prefix="userapi_node_") as name:
        folder = Path(name)
        shutil.copytree(project / "scripts", folder, dirs_exist_ok=True)
        shutil.copy(project / "package.json", folder)
        (folder / "node_modules").symlink_to(modules)
        yield folder


def run_script(folder: Path, script: str, *args: str) -> str:
    """Run a script to its end; give what it printed."""
    done = subprocess.run(["node", script, *args], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def http_service(folder: Path, script: str, *args: str) -> Iterator[str]:
    """The address of a service that a script serves, whose first line is its port; ended afterwards."""
    process = subprocess.Popen(["node", script, *args], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
