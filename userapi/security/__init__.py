"""Passwords, tokens and the login throttle: what needs no database."""
