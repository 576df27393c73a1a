"""The keyring: what the service's secret keys are good for beside tokens, digests of secrets and sealed texts."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Keyring:
    """Keys derived from the secret keys: the first digests and seals, all are tried on what was kept before."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Derive keys of their own from each secret, so that none serves two purposes."""
        self._digest_keys = [_derived(secret, "digest") for secret in secrets]
        self._seals = MultiFernet([Fernet(urlsafe_b64encode(_derived(secret, "seal"))) for secret in secrets])

    def digests(self, *parts: str) -> list[str]:
        """Return the HMAC-SHA256 of texts in base64url, 43 characters, by each key: keep the first, look for all.

        Whoever has only the database can neither find the texts, however short they are, nor make digests.
        """
        message = json.dumps(parts).encode()
        found = [hmac.digest(key, message, "sha256") for key in self._digest_keys]
        return [urlsafe_b64encode(digest).decode().rstrip("=") for digest in found]

    def seal(self, text: str) -> str:
        """Return a text encrypted and authenticated (Fernet), in ASCII."""
        return self._seals.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str | None:
        """Return the text; None if no key of ours has sealed it."""
        try:
            return self._seals.decrypt(sealed).decode()
        except InvalidToken:
            return None


def _derived(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), f"userapi:{purpose}".encode(), "sha256")
