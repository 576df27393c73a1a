"""What the system tells of itself and of processes. Figures of processes come from /proc; elsewhere there are none."""

import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = "fastapi starlette pydantic sqlmodel sqlalchemy uvicorn uvloop httptools pyjwt bcrypt psycopg asyncmy"
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def describe() -> dict[str, str]:
    """Give what figures depend on: processor, Python, libraries."""
    return {
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(_versions(LIBRARIES.split())),
    }


def _processor() -> str:
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"no {name}"


def tree(pid: int) -> list[int]:
    """Give a process and its descendants."""
    found = [pid]
    for parent in found:  # grows on the way
        for children in (_PROC / str(parent) / "task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # ended meanwhile
                continue
    return found


def cpu_seconds(pid: int) -> float | None:
    """Give the CPU time that a process and its descendants have used."""
    ticks, seen = 0, False
    for member in tree(pid):
        try:
            stat = (_PROC / str(member) / "stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        ticks, seen = ticks + int(fields[11]) + int(fields[12]), True
    return ticks / _TICKS if seen else None


def settle(pid: int, seconds: float = 60) -> None:
    """Wait until a process has done what is left of its work: a stopped load leaves requests behind."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(pid)
    while before is not None and time.monotonic() < deadline:
        time.sleep(0.1)
        after = cpu_seconds(pid)
        if after is None or after - before < 0.015:
            return
        before = after


def memory(pid: int) -> dict[str, float] | None:
    """Give `rss` and `pss` in MiB of the largest process of a tree: a worker."""
    found = []
    for member in tree(pid):
        try:
            lines = (_PROC / str(member) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split()[0].rstrip(":").lower(): int(line.split()[1]) / 1024 for line in lines[1:]}
        found.append({name: sizes[name] for name in ("rss", "pss")})
    return max(found, key=lambda sizes: sizes["rss"], default=None)
