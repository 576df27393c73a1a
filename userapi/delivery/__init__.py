"""Delivery: what waits in the outbox of `mail` is rendered and handed to whoever delivers it."""
