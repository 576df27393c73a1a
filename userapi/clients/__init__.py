"""OAuth clients: other services, which ask whether a token is good (RFC 7662)."""
