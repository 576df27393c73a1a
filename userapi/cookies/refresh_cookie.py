"""The cookie of a refresh token, as the IETF's practice for browser-based applications has it.

A browser sends a cookie along whoever asks it to, so where one is used or set, the page that asks must be one's own: of
this site, or of an origin that the operator names. `*` names none.
"""

from fastapi import Request, Response

from userapi.errors import ApiError, ErrorCode

# The prefix makes the browser insist on Secure, this very host and the path `/` (RFC 6265bis section 4.1.3).
NAME = "__Host-refresh_token"


def token_of(request: Request) -> str:
    """Return the refresh token that came as a cookie; an empty text if none did.

    Raises:
        ApiError: cross_site_refused; there is one, but the page is not one's own.
    """
    token = request.cookies.get(NAME, "")
    if token:
        require_own_page(request)
    return token


def require_own_page(request: Request) -> None:
    """Check that a page of this site, or of an origin in `CORS_ORIGINS`, makes a request.

    That is what the browser says in `Sec-Fetch-Site` (Fetch Metadata) or, if it is too old for that, in `Origin`.

    Raises:
        ApiError: cross_site_refused; another site's page does, or nothing tells which.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    named = origin != "*" and origin in request.app.state.services.settings.cors_origins
    own = site in {"same-origin", "same-site"} if site else origin == str(request.base_url.replace(path="")).rstrip("/")
    if not own and not named:
        raise ApiError(ErrorCode.CROSS_SITE_REFUSED)


def keep(response: Response, token: str, seconds: int) -> None:
    """Let the browser keep a refresh token for so many seconds."""
    response.set_cookie(NAME, token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict")


def forget(response: Response) -> None:
    """Let the browser forget the refresh token."""
    response.delete_cookie(NAME, path="/", secure=True, httponly=True, samesite="strict")
