"""The header `Link`, by which a list leads to the pages around one (RFC 8288)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode


def links(path: str, kept: Mapping[str, Any], places: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the header: references to a path, without a host, each with its query.

    `kept` are the parameters that all of them share, `places` what each adds by its relation: first, prev, next, last.
    """
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in kept.items()}
    queries = {relation: urlencode({**given, **place}) for relation, place in places.items()}
    return ", ".join(f'<{path}{query and "?"}{query}>; rel="{relation}"' for relation, query in queries.items())


def numbered(page: int, *, more: bool) -> dict[str, dict[str, Any]]:
    """Return the places around a page of a list whose pages are numbered from 1; `more` is whether another follows."""
    around = {"first": 1, "prev": page - 1, "next": page + 1 if more else 0}
    return {relation: {"page": number} for relation, number in around.items() if number > 0}
