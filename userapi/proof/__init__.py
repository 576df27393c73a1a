"""Proof: that a password is the one of an account, and what wrong ones cost."""
