"""Mailboxes: who reads them, proved by what a mail brought, and what follows from that."""
