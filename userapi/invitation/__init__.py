"""Invitation: an admin makes a user without a password, and a mail lets that user set one."""
