"""Discovery: where the service's OAuth endpoints are, and the keys by which its access tokens are verified."""
