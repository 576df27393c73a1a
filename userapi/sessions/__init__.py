"""Login sessions: begun, refreshed, listed and ended; and who a request's token speaks for."""
