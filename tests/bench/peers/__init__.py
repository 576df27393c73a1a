"""What else serves users' accounts: each in an environment of its own, outside of the project."""
