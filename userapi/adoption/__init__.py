"""Adoption: the database of an application that was made after the tutorial becomes this service's own."""
