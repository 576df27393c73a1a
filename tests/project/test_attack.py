"""The attack run plays, and what it tries holds. Its floods measure time, and are left to `python -m tests.attack`."""

import subprocess
import sys

import pytest

from tests.support.databases import IF_THOROUGH
from tests.support.processes import ROOT, environment


@IF_THOROUGH
@pytest.mark.slow
def test_plays_attacks_that_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack", "--quick", "--items", "1,2,4,9"],
        env=environment("sqlite://"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert {line.split()[1] for line in lines} == {"1", "2", "4", "9"}, done.stdout + done.stderr
    assert [line for line in lines if not line.startswith("PASS")] == []
    assert (done.returncode, done.stderr) == (0, "")


def test_attacks_nobody_elses_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack", "--url", "http://192.0.2.1:8000"],
        env=environment("sqlite://"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "on this machine" in done.stderr
