"""The refresh token in a cookie: a browser keeps it, sends it back, and shows it to no script."""
