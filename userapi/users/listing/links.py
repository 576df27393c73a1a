"""The `Link` header of a page."""

from urllib.parse import urlencode

from userapi.users.listing.page import Page
from userapi.users.listing.query import MAX_ROWS, ListQuery

_PLACES = {"page", "after"}


def links(query: ListQuery, page: Page, path: str) -> str:
    """Return the `Link` header (RFC 8288) of a page: relative references that keep the filters.

    A client that numbers the pages gets numbers. Another gets a cursor, which costs the same at any depth.
    """
    given = {name: getattr(query, name) for name in sorted(query.model_fields_set - _PLACES)}
    filters = urlencode(
        {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    )

    def link(relation: str, place: str = "") -> str:
        parameters = "&".join(filter(None, (filters, place)))
        return f'<{path}{parameters and "?"}{parameters}>; rel="{relation}"'

    numbered = "page" in query.model_fields_set
    found = [link("first", "page=1" if numbered else "")]
    if numbered and query.page > 1:
        found.append(link("prev", f"page={query.page - 1}"))
    if page.next and numbered and (query.page + 1) * query.page_size <= MAX_ROWS:
        found.append(link("next", f"page={query.page + 1}"))
    elif page.next:
        found.append(link("next", f"after={page.next}"))
    if page.total is not None:
        found.append(link("last", f"page={max(1, -(-page.total // query.page_size))}"))
    return ", ".join(found)
