"""What OAuth clients and other services look up by themselves: metadata (RFC 8414) and public keys (RFC 7517)."""

from typing import Any

from fastapi import Request
from pydantic import MISSING, BaseModel, Field

from userapi.kit.web import openapi
from userapi.security.key_pairs import public_jwk
from userapi.security.tokens import Tokens

router = openapi.router(prefix="/.well-known", tags=["auth"])


class Metadata(BaseModel):
    """The authorization server's metadata (RFC 8414 section 2)."""

    issuer: str = Field(description="`ISSUER_URL`, else where this request went")
    token_endpoint: str
    revocation_endpoint: str
    introspection_endpoint: str
    jwks_uri: str
    service_documentation: str | MISSING = Field(MISSING, description="Absent with `DOCS_ENABLED=false`")
    grant_types_supported: list[str] = ["password", "refresh_token"]
    response_types_supported: list[str] = Field([], description="None: there is no authorization endpoint")
    token_endpoint_auth_methods_supported: list[str] = ["none"]
    revocation_endpoint_auth_methods_supported: list[str] = ["none"]
    introspection_endpoint_auth_methods_supported: list[str] = ["client_secret_basic", "client_secret_post"]
    access_token_issuer: str = Field(description="`iss` of access tokens: `issuer` if `ISSUER_URL` is set, else an id")


class KeySet(BaseModel):
    """Public keys (RFC 7517 section 5); none while access tokens are signed with the secret key."""

    keys: list[dict[str, Any]]


@router.get("/oauth-authorization-server")
async def metadata(request: Request) -> Metadata:
    """Tell where the OAuth endpoints are and what they can do (RFC 8414)."""
    services = request.app.state.services
    issuer: str = services.settings.issuer_url or str(request.base_url).rstrip("/")
    base = issuer.rstrip("/")
    return Metadata(
        issuer=issuer,
        token_endpoint=f"{base}/token",
        revocation_endpoint=f"{base}/revoke",
        introspection_endpoint=f"{base}/introspect",
        jwks_uri=f"{base}/.well-known/jwks.json",
        service_documentation=f"{base}/docs" if services.settings.docs_enabled else MISSING,
        access_token_issuer=services.tokens.access_issuer,
    )


@router.get("/jwks.json")
async def key_set(request: Request) -> KeySet:
    """Tell the public keys by which access tokens are verified (RFC 9068 section 4); see `SIGNING_KEY_FILES`."""
    tokens: Tokens = request.app.state.services.tokens
    return KeySet(keys=[public_jwk(key_pair) for key_pair in tokens.key_pairs])
