"""Key pairs for access tokens that others can verify: read from PEM files, made, and their public halves (RFC 7517)."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

from userapi.errors import Refusal
from userapi.security.key_file import require_private

ALGORITHMS = ["ES256", "EdDSA"]  # RFC 7518 section 3.4, RFC 8037 section 3.1


def key_pairs_of(paths: Sequence[str]) -> list[jwt.PyJWK]:
    """Return the key pairs of PEM files, in their order; each knows its one algorithm and its id.

    Raises:
        Refusal: A file cannot be read, is open to others, or holds no private key of a kind that is used here.
    """
    return [_key_pair(Path(path)) for path in paths]


def public_jwk(key_pair: jwt.PyJWK) -> dict[str, str]:
    """Return the public half of a key pair, for others to verify signatures with."""
    members = key_pair.Algorithm.to_jwk(key_pair.key, as_dict=True)
    return {**_public(members), "use": "sig", "alg": key_pair.algorithm_name, "kid": key_pair.key_id or ""}


def make_key(path: Path, algorithm: str) -> None:
    """Write a new private key for one of `ALGORITHMS` to a file for its owner only (mode 0600).

    Raises:
        Refusal: The file is there already, or cannot be made.
    """
    made = generate_private_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise Refusal(f"{path} is there already: a key is never overwritten") from error
    except OSError as error:
        raise Refusal(f"{path} cannot be made: {error}") from error


def _key_pair(path: Path) -> jwt.PyJWK:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise Refusal(f"the signing key in {path} cannot be read: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refusal(f"{path} holds no private key in PEM without a passphrase") from error
    require_private(path, "signing key")
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        members, algorithm = ECAlgorithm.to_jwk(key, as_dict=True), "ES256"
    elif isinstance(key, Ed25519PrivateKey):
        members, algorithm = OKPAlgorithm.to_jwk(key, as_dict=True), "EdDSA"
    else:
        raise Refusal(
            f"the key in {path} is neither for ES256 nor for EdDSA; make one with: python -m userapi make-key FILE"
        )
    return jwt.PyJWK({**members, "kid": _thumbprint(members)}, algorithm)


def _public(members: Mapping[str, str]) -> dict[str, str]:
    """Return those members of a JWK that make its public key, of both kinds, in the order of RFC 7638 section 3.2."""
    return {name: members[name] for name in ("crv", "kty", "x", "y") if name in members}


def _thumbprint(members: Mapping[str, str]) -> str:
    """Return the id of a key, by which every process and every host knows it: its thumbprint (RFC 7638)."""
    canonical = json.dumps(_public(members), separators=(",", ":"))
    return base64url_encode(hashlib.sha256(canonical.encode()).digest()).decode()
