"""Users go out, in the form in which they may come in."""
