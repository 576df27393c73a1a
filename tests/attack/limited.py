"""Runs a module with few files: `python -m tests.attack.limited MODULE ARGUMENTS`."""

import os
import resource
import sys

SOFT, HARD = 512, 1024

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
