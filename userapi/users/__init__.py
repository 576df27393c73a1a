"""Users: made, found, listed, changed and deleted."""
