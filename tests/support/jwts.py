"""Tokens that nobody issued."""

import base64
import json
from typing import Any

import jwt

from tests.support.processes import SECRET_KEY


def forge(claims: dict[str, Any], algorithm: str | None = "HS256", key: str = SECRET_KEY, **headers: Any) -> str:
    """A token with any claims, signed as the service does unless told otherwise."""
    header = encoded_part({"alg": algorithm or "none", "typ": "JWT", **headers})
    signed = f"{header}.{encoded_part(claims)}"
    if algorithm is None:
        return f"{signed}."
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key.encode())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def encoded_part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
