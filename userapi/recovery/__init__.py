"""Recovery: whoever forgot a password sets a new one, by what a mail to the account's address brings."""
