"""Notices: owners of accounts are told by mail what they should know of."""
