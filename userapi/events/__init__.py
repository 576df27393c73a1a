"""Events: what happened is written down with the change that it was; `activity` reads it."""
