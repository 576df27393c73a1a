"""Lists of users: what may be asked for, how a page is found, and how its pages refer to each other."""

from userapi.listing.finding import Page, find_page, kept, places
from userapi.listing.query import ListQuery

__all__ = ["ListQuery", "Page", "find_page", "kept", "places"]
