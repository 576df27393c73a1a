"""Attacks on a running service: `python -m tests.attack --help`."""
