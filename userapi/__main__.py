"""The command line as a module: `python -m userapi`."""

import os
import signal
import sys

from userapi.cli import cli

TERMINATED = 128 + signal.SIGTERM  # the exit code that shells give to what was told to end

for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
    if getattr(sys, name) is None:  # it was closed: else the next file that is opened would have its number
        setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, closefd=False))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that commands tidy up what is unfinished
try:
    cli(prog_name="python -m userapi")
except OSError as error:  # standard output is full, for instance
    sys.exit(f"error: {error}")
