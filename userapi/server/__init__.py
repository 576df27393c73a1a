"""The process that serves: connections, and bounds on what a client may leave it with."""
