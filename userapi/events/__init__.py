"""Events: what happened is written down with the change that it was, and can be read by whom it is about."""
