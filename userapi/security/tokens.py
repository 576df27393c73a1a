"""Tokens (JWT): signed and checked."""

import re
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import jwt
from jwt.utils import base64url_encode

from userapi.models import MAX_ID

ALGORITHM = "HS256"
REQUIRED_CLAIMS = ["iss", "sub", "sid", "gen", "nonce", "iat", "exp", "aud"]
ACCESS, REFRESH = "userapi:access", "userapi:refresh"  # a token's purpose is its audience (RFC 8725 section 3.9)
CLIENT_ID = "userapi"  # the one client that logs in, first-party apps (RFC 9068 section 2.2)
MAX_CHECKED = 10_000  # tokens remembered as good

# A time of issue in the future says that a clock is wrong, which no attacker can make of it: hosts whose clocks differ
# accept each other's tokens, and a clock that is set back ends none. The end of a token counts to the second.
FUTURE_SECONDS = 86_400

_OPTIONS: Any = {"require": REQUIRED_CLAIMS, "verify_exp": False}  # read below, without that leeway
_NONCE = re.compile(r"[\w-]{22}", re.ASCII)


class Claims(NamedTuple):
    """Whom a token speaks for, in which login session, known by its nonce, and of which generation it is."""

    user_id: int
    session_id: int
    generation: int
    nonce: str


class Tokens:
    """Signs and checks tokens (RFC 7519, RFC 8725); access tokens are those of RFC 9068."""

    def __init__(
        self, secrets: list[str], issuer: str, key_pairs: Sequence[jwt.PyJWK] = (), issuer_url: str | None = None
    ) -> None:
        """Take HS256 keys and, for access tokens, key pairs in their place: the first signs, all verify.

        Access tokens name `issuer_url`, where there is one, as their issuer. Those of another issuer than these two are
        refused. Refresh tokens are for this service alone, so they stay with the secrets and the issuer.
        """
        self._issuer = issuer
        self.access_issuer = issuer_url or issuer
        self.key_pairs = key_pairs
        self._named = {key.key_id: key for key in key_pairs}
        # Parsing a key costs as much as checking a token.
        self._keys = [
            jwt.PyJWK({"kty": "oct", "k": base64url_encode(secret.encode()).decode(), "alg": ALGORITHM})
            for secret in secrets
        ]
        # What a signature says does not change until it expires; checking it costs as much as the query that follows.
        self._checked: dict[tuple[str, str], tuple[Claims | None, float]] = {}

    def issue_access(self, claims: Claims, *, at: datetime, until: datetime) -> str:
        """Return an access token that is good from `at` to `until`, as long as its login session lives (RFC 9068)."""
        key = self.key_pairs[0] if self.key_pairs else self._keys[0]
        header = {"typ": "at+jwt"} | ({"kid": key.key_id} if key.key_id else {})
        own = {"iss": self.access_issuer, "client_id": CLIENT_ID, "jti": secrets.token_urlsafe(16)}
        return jwt.encode(own | _payload(ACCESS, claims, at, until), key, key.algorithm_name, header)

    def issue_refresh(self, claims: Claims, *, at: datetime, until: datetime) -> str:
        """Return a refresh token that is good until `until`; for the same arguments the same."""
        own = {"iss": self._issuer}
        return jwt.encode(own | _payload(REFRESH, claims, at, until), self._keys[0], ALGORITHM)

    def read(self, purpose: str, token: str) -> Claims | None:
        """Check a token's signature, issuer, purpose and time; return its claims, or None if anything is wrong with it.

        Whether the login session is still alive is for the database to say.
        """
        claims, expires_at = self._checked.get((purpose, token), (None, 0))
        if expires_at > time.time():
            return claims
        payload = self._verified(purpose, token)
        if payload is None:
            return None
        if len(self._checked) >= MAX_CHECKED:
            self._checked.clear()
        claims = _claims(payload)
        self._checked[purpose, token] = claims, payload["exp"]
        return claims

    def has_expired(self, purpose: str, token: str) -> bool:
        """Tell whether a token that is refused was good once, and nothing is wrong with it but its age."""
        payload = self._verified(purpose, token, verify_exp=False)
        return payload is not None and isinstance(payload["exp"], int) and payload["exp"] <= time.time()

    def _verified(self, purpose: str, token: str, *, verify_exp: bool = True) -> dict[str, Any] | None:
        """Return all claims of a token, if it is one of ours; the key that it names decides the algorithm."""
        issuers = {self._issuer, self.access_issuer} if purpose == ACCESS else {self._issuer}
        try:
            for key in self._candidates(purpose, token):
                try:
                    payload = jwt.decode(
                        token,
                        key,
                        [key.algorithm_name],
                        audience=purpose,
                        issuer=issuers,
                        leeway=FUTURE_SECONDS,
                        options=_OPTIONS,
                    )
                except jwt.InvalidSignatureError:
                    continue
                claims = _claims(payload)
                if verify_exp and int(payload["exp"]) <= time.time():
                    return None
                fits = all(1 <= part <= MAX_ID for part in claims[:3]) and payload["sub"] == str(claims.user_id)
                return payload if fits else None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            return None
        return None

    def _candidates(self, purpose: str, token: str) -> Sequence[jwt.PyJWK]:
        """Return the keys that may have signed a token: the pair that it names, or all secrets."""
        if purpose == ACCESS and self._named:
            key_id = jwt.get_unverified_header(token).get("kid")
            if key_id is not None:
                return [self._named[key_id]] if key_id in self._named else []
        return self._keys


def payload_of(token: str) -> dict[str, Any]:
    """Return all claims of a token that has been checked."""
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def _payload(purpose: str, claims: Claims, at: datetime, until: datetime) -> dict[str, Any]:
    return {
        "sub": str(claims.user_id),
        "sid": claims.session_id,
        "gen": claims.generation,
        "nonce": claims.nonce,
        "iat": int(at.timestamp()),
        "exp": int(until.timestamp()),
        "aud": purpose,
    }


def _claims(payload: dict[str, Any]) -> Claims:
    if not _NONCE.fullmatch(payload["nonce"]):
        raise ValueError("this is no nonce")
    if type(payload["sid"]) is not int or type(payload["gen"]) is not int:
        raise ValueError("a number is an integer")
    return Claims(int(payload["sub"]), payload["sid"], payload["gen"], payload["nonce"])
