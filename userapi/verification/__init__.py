"""Verification: an address counts once somebody has shown to read its mail; a change of it can be undone."""
