"""One-time codes: that a mail was read is proved once, by a link or by a code to type."""
