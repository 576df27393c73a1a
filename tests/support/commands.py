"""The service's commands run in this process, which spares the second that starting another one takes."""

import os
from contextlib import chdir
from pathlib import Path
from traceback import format_exception
from unittest.mock import patch

from click.testing import CliRunner

from tests.support.insides import cli, supervisor, worker
from tests.support.processes import ROOT, Finished, environment


def command(*args: str, url: str, stdin: str | None = None, cwd: Path | str = ROOT, **settings: str) -> Finished:
    """Run `python -m userapi ...` up to where it would serve; what it raises shows as the traceback it would be."""
    serving = patch.object(supervisor, "run", side_effect=_prepare)
    with chdir(cwd), serving, patch.dict(os.environ, environment(url, **settings), clear=True):
        result = CliRunner().invoke(cli, args, input=stdin)
    raised = "" if isinstance(result.exception, SystemExit | None) else "".join(format_exception(result.exception))
    return Finished(args, result.exit_code, result.stdout, result.stderr + raised)


def _prepare(_place: object, _command: list[str], workers: int) -> int:
    """Do what the first worker does before it serves."""
    worker.prepare("http://test", alone=workers == 1)
    raise AssertionError("it serves")
