"""Mails as such: rendered from templates, and handed to whoever delivers them."""
