"""The header `Link`, by which a list leads to the pages around one (RFC 8288)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def links(path: str, kept: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Return the header: references to a path, without a host, each with its query.

    `kept` are the parameters that all of them share, `places` what each adds by its relation: first, prev, next, last.
    """
    shared = urlencode({name: str(value).lower() if isinstance(value, bool) else value for name, value in kept.items()})
    found = []
    for relation, place in places.items():
        query = f"{shared}&{place}" if shared and place else shared or place
        found.append(f'<{path}{query and "?"}{query}>; rel="{relation}"')
    return ", ".join(found)


def numbered(page: int, *, more: bool) -> dict[str, str]:
    """Return the places around a page of a list whose pages are numbered from 1; `more` is whether another follows."""
    around = {"first": 1, "prev": page - 1, "next": page + 1 if more else 0}
    return {relation: f"page={number}" for relation, number in around.items() if number > 0}
