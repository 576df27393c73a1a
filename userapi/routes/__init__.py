"""The routes: one short function an endpoint; the rules are in `accounts` and `sessions`."""
