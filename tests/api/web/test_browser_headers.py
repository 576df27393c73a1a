"""What answers tell browsers: not to frame them, whence scripts may come, to come by https."""

import asyncio
import re

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.insides import Settings, create_app
from tests.support.processes import SECRET_KEY
from tests.support.servers import Shared

ALLOWED = "https://app.example"

ANSWERS = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/users"),
        ("POST", "/token"),
        ("GET", "/no"),
        ("PUT", "/token"),
        ("GET", "/docs"),
    ],
)


def policy(answer_headers: object) -> dict[str, str]:
    """The directives of the one content security policy."""
    [value] = answer_headers.get_list("Content-Security-Policy")  # type: ignore[attr-defined]  # httpx2's headers
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in value.split(";"))}


@ON_SQLITE
class TestFrames:
    """S37."""

    @ANSWERS
    def test_nothing_may_be_framed_nor_tells_where_one_was(self, api: Api, method: str, path: str) -> None:
        """S37."""
        answer = api.http.request(method, path)
        assert answer.headers.get_list("X-Frame-Options") == ["DENY"]
        assert answer.headers.get_list("Referrer-Policy") == ["no-referrer"]
        assert policy(answer.headers)["frame-ancestors"] == "'none'"
        assert "Strict-Transport-Security" not in answer.headers

    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    def test_pages_run_their_own_scripts_only(self, api: Api, path: str) -> None:
        """S37."""
        first, second = (api.http.get(path) for _ in range(2))
        [nonce] = re.findall("^'nonce-([^']+)'$", policy(first.headers)["script-src"])
        assert policy(first.headers)["script-src"] != policy(second.headers)["script-src"]
        assert first.text.count("<script") == first.text.count(f'<script nonce="{nonce}"') > 0


def test_by_https_it_says_to_stay_there(behind_proxy: Api) -> None:
    """S37."""
    for path in ("/health/live", "/docs", "/no"):
        answer = behind_proxy.http.get(path, headers={"X-Forwarded-Proto": "https"})
        assert re.fullmatch(r"max-age=\d{8,}", answer.headers["Strict-Transport-Security"])


def test_pages_can_be_switched_off(shared: Shared) -> None:
    with client_of(shared.service("sqlite", DOCS_ENABLED="false")) as api:
        for path in (
            "/docs",
            "/redoc",
            "/openapi.json",
            "/static-offline-docs/swagger-ui.css",
            "/docs/oauth2-redirect",
        ):
            assert api.http.get(path).status_code == 404
        assert "/docs" not in api.server.text
        assert api.http.get("/health/live").status_code == 200


def test_an_internal_error_can_be_read_by_allowed_origins() -> None:
    """S37."""
    settings = Settings(
        _env_file=None, database_url="sqlite://", cors_origins=[ALLOWED], secret_key=SecretStr(SECRET_KEY)
    )
    app = create_app(settings)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", verify=False) as client:
            return await client.get("/broken", headers={"Origin": ALLOWED})

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
    assert answer.headers["X-Frame-Options"] == "DENY"
