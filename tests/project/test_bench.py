"""The benchmark still runs: what it reports is complete and free of errors; how fast things are is not judged."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from tests.bench.__main__ import bench as command
from tests.bench.operations import OURS, TITLES, TUTORIAL
from tests.bench.peers import comparison
from tests.bench.peers.peer import HERE as PEERS
from tests.support.databases import IF_THOROUGH, skip_without
from tests.support.installed import programs
from tests.support.processes import ROOT, environment

QUICK = (
    "--users",
    "50",
    "--duration",
    "0.1",
    "--rounds",
    "1",
    "--connections",
    "2",
    "--bcrypt-rounds",
    "4",
    "--no-wrk",
)


OPTIONAL = {"refresh", "search"}  # left out for a service that does not offer them


def bench(*options: str, tmp: Path) -> tuple[dict[str, Any], str]:
    """Run the benchmark; give its JSON and what it printed. Its temporary files go to `tmp`."""
    result = tmp.parent / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *QUICK, *options, "--json", str(result)],
        env=environment("sqlite://", TMPDIR=str(tmp)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp.iterdir())
    return json.loads(result.read_text()), done.stdout


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """An empty folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@IF_THOROUGH
@pytest.mark.slow
def test_measures_every_operation_without_errors(tmp: Path, tmp_path: Path) -> None:
    found, printed = bench("--plot", str(tmp_path / "chart.svg"), tmp=tmp)
    rows = found["rows"]
    assert {row["operation"] for row in rows} | OPTIONAL == {*TITLES}
    for row in rows:
        assert row["errors"] == 0
        assert row["requests_per_second"] > 0, row
    subjects = {name: {row["subject"] for row in rows if row["operation"] == name} for name in TITLES}
    assert subjects["me"] == {OURS, TUTORIAL, "constant", "SQL alone"}
    assert subjects["login"] == subjects["create"] == {OURS, TUTORIAL, "bcrypt alone"}
    assert {process["subject"] for process in found["processes"]} == {OURS, TUTORIAL, "constant"}
    assert "bundled load generator" in printed
    assert ElementTree.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")


@IF_THOROUGH
@pytest.mark.slow
@pytest.mark.parametrize("mode", [("--sweep=1,3",), ("--scale=20,40",)])
def test_tells_how_costs_grow(tmp: Path, mode: tuple[str, ...]) -> None:
    found, _ = bench(*mode, "--operations", "me", tmp=tmp)
    varied = "connections" if "--sweep=1,3" in mode else "users"
    seen = {(row["operation"], row["subject"], row[varied]) for row in found["rows"]}
    counts = {int(number) for number in mode[0].partition("=")[2].split(",")}
    assert seen == {("me", subject, n) for subject in (OURS, TUTORIAL) for n in counts}


@pytest.fixture
def peers() -> None:
    """What the peers run with is installed; pip may have to fetch it first."""
    for pins in PEERS.glob("*.txt"):
        try:
            programs(pins)
        except RuntimeError as error:
            skip_without("peers", str(error))


@IF_THOROUGH
@pytest.mark.slow
@pytest.mark.usefixtures("peers")
def test_measures_peers_in_what_they_offer_without_errors(tmp: Path, tmp_path: Path) -> None:
    found, printed = bench("--peers", "--duration", "0.05", "--plot", str(tmp_path / "chart.svg"), tmp=tmp)
    offered: dict[str, set[str]] = {}
    for row in found["rows"]:
        assert row["errors"] == 0, row
        assert row["requests_per_second"] > 0, row
        assert row["size"] > 0, row
        offered.setdefault(row["subject"], set()).add(row["operation"])
    assert offered[OURS] == offered["PocketBase"] == {*comparison.TITLES}
    assert offered["fastapi-users"] == {"me", "update", "login", "create"}
    assert offered[TUTORIAL] == {*comparison.TITLES} - {"search", "refresh"}
    assert printed.count("| - ") == 4 * 6  # tables, and what somebody does not offer
    assert "list 100" in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize("option", [("--database", "mysql"), ("--sweep",), ("--scale",)], ids=" ".join)
def test_refuses_to_compare_peers_elsewhere(option: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(command, ["--peers", *option])
    assert refused.exit_code == 2
    assert "--peers compares on SQLite" in refused.output


@pytest.mark.slow
def test_cleans_up_when_interrupted(tmp: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench", *QUICK, "--duration", "60", "--operations", "me"],
        env=environment("sqlite://", TMPDIR=str(tmp)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline and len(list(tmp.glob("*/*.log"))) < 4:
        time.sleep(0.1)
    assert len(list(tmp.glob("*/*.log"))) >= 4
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0, printed
    assert not list(tmp.iterdir())
    assert processes_of(tmp) == []


def processes_of(folder: Path) -> list[str]:
    """The processes that were started with this folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another's
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found
