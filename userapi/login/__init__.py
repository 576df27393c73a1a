"""Login: a password or a refresh token becomes a pair of tokens, and tokens are revoked."""
