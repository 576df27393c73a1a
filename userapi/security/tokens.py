"""Tokens (JWT): signed and checked."""

import re
import time
from datetime import datetime
from typing import Any, NamedTuple

import jwt
from jwt.utils import base64url_encode

from userapi.models import MAX_ID

ALGORITHM = "HS256"
REQUIRED_CLAIMS = ["iss", "sub", "sid", "gen", "nonce", "iat", "exp", "aud"]
ACCESS, REFRESH = "userapi:access", "userapi:refresh"  # a token's purpose is its audience (RFC 8725 section 3.9)
MAX_CHECKED = 10_000  # tokens remembered as good

# A time of issue in the future says that a clock is wrong, which no attacker can make of it: hosts whose clocks differ
# accept each other's tokens, and a clock that is set back ends none. The end of a token counts to the second.
FUTURE_SECONDS = 86_400

_OPTIONS: Any = {"require": REQUIRED_CLAIMS}
_NONCE = re.compile(r"[\w-]{22}", re.ASCII)


class Claims(NamedTuple):
    """Whom a token speaks for, in which login session, known by its nonce, and of which generation it is."""

    user_id: int
    session_id: int
    generation: int
    nonce: str


class Tokens:
    """Signs and checks tokens (RFC 7519, RFC 8725)."""

    def __init__(self, secrets: list[str], issuer: str) -> None:
        """Take HS256 keys: the first signs, all verify. Tokens of another issuer than this one are refused.

        Parsing a key costs as much as checking a token.
        """
        self._issuer = issuer
        self._keys = [
            jwt.PyJWK({"kty": "oct", "k": base64url_encode(secret.encode()).decode(), "alg": ALGORITHM})
            for secret in secrets
        ]
        # What a signature says does not change until it expires; checking it costs as much as the query that follows.
        self._checked: dict[tuple[str, str], tuple[Claims | None, float]] = {}

    def issue(self, purpose: str, claims: Claims, *, at: datetime, until: datetime) -> str:
        """Return a token for `purpose` that is good from `at` to `until`, as long as its login session lives."""
        payload: dict[str, Any] = {"iss": self._issuer, "sub": str(claims.user_id), "sid": claims.session_id}
        payload |= {"gen": claims.generation, "nonce": claims.nonce}
        payload |= {"iat": int(at.timestamp()), "exp": int(until.timestamp()), "aud": purpose}
        return jwt.encode(payload, self._keys[0], ALGORITHM)

    def read(self, purpose: str, token: str) -> Claims | None:
        """Check a token's signature, issuer, purpose and time; return its claims, or None if anything is wrong with it.

        Whether the login session is still alive is for the database to say.
        """
        claims, expires_at = self._checked.get((purpose, token), (None, 0))
        if expires_at > time.time():
            return claims
        for key in self._keys:
            try:
                payload = jwt.decode(
                    token,
                    key,
                    [ALGORITHM],
                    audience=purpose,
                    issuer=self._issuer,
                    leeway=FUTURE_SECONDS,
                    options=_OPTIONS,
                )
                claims = _claims(payload)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
                return None
            if not all(1 <= part <= MAX_ID for part in claims[:3]) or payload["sub"] != str(claims.user_id):
                return None
            if len(self._checked) >= MAX_CHECKED:
                self._checked.clear()
            self._checked[purpose, token] = claims, payload["exp"]
            return claims
        return None


def _claims(payload: dict[str, Any]) -> Claims:
    if int(payload["exp"]) <= time.time():
        raise ValueError("it has expired")
    if not _NONCE.fullmatch(payload["nonce"]):
        raise ValueError("this is no nonce")
    if type(payload["sid"]) is not int or type(payload["gen"]) is not int:
        raise ValueError("a number is an integer")
    return Claims(int(payload["sub"]), payload["sid"], payload["gen"], payload["nonce"])
