"""Cross-origin requests: browsers may call from the origins that are set, and from no other."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.databases import ON_SQLITE
from tests.support.servers import Shared

ORIGIN = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}


@pytest.fixture
def client(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Api]:
    with client_of(shared.service("sqlite", CORS_ORIGINS=request.param)) as api:
        yield api


@pytest.mark.parametrize("client", [f"{ORIGIN}, https://other.example"], indirect=True)
class TestAllowedOrigins:
    def test_preflight_is_remembered_and_cookies_may_come_along(self, client: Api) -> None:
        answer = client.http.options("/users/1", headers={"Origin": ORIGIN, **PREFLIGHT})
        assert answer.headers["Access-Control-Max-Age"] == "7200"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert (
            client.http.get("/users/me", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Credentials"]
            == "true"
        )

    @pytest.mark.parametrize("origin", [ORIGIN, "https://other.example"])
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    def test_preflight_lets_its_requests_pass(self, client: Api, origin: str, method: str) -> None:
        for header in ("authorization", "content-type", "if-match", "x-request-id"):
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
            answer = client.http.options("/users/1", headers={"Origin": origin, **asked})
            assert answer.status_code == 200
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert method in answer.headers["Access-Control-Allow-Methods"]
            assert header in answer.headers["Access-Control-Allow-Headers"].lower()

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/health/live", 200),
            ("GET", "/users/me", 401),
            ("GET", "/nothing", 404),
            ("PUT", "/token", 405),
            ("POST", "/token", 413),
            ("POST", "/token", 422),
        ],
    )
    def test_answers_can_be_read_refusals_too(self, client: Api, method: str, path: str, status: int) -> None:
        body = b"x" * 70_000 if status == 413 else b""
        with client.server.client() as http:
            answer = http.request(method, path, headers={"Origin": ORIGIN}, content=body)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        named = {"Location", "Retry-After", "ETag", "Link", "X-Total-Count", "X-Request-ID", "WWW-Authenticate"}
        assert named <= set(exposed)

    def test_an_unavailable_service_can_be_read(self, client: Api) -> None:
        [(revision,)] = client.sql("SELECT version_num FROM alembic_version")
        client.sql("UPDATE alembic_version SET version_num = 'other'")
        try:
            answer = client.http.get("/health/ready", headers={"Origin": ORIGIN})
        finally:
            client.sql("UPDATE alembic_version SET version_num = :revision", revision=revision)
        assert answer.status_code == 503
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "http://app.example", f"{ORIGIN}.evil.example", f"{ORIGIN}:8443", "null"]
    )
    def test_other_origins_are_not_allowed(self, client: Api, origin: str) -> None:
        answer = client.http.options("/users/me", headers={"Origin": origin, **PREFLIGHT})
        assert answer.status_code == 400
        assert "Access-Control-Allow-Origin" not in answer.headers
        answer = client.http.get("/health/live", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("client", ["*"], indirect=True)
class TestAnyOrigin:
    def test_any_origin_may_call_but_not_with_cookies(self, client: Api) -> None:
        answer = client.http.get("/health/live", headers={"Origin": "https://any.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@ON_SQLITE
class TestByDefault:
    def test_no_origin_is_allowed(self, api: Api) -> None:
        answer = api.http.get("/health/live", headers={"Origin": ORIGIN})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert api.http.options("/users/me", headers={"Origin": ORIGIN, **PREFLIGHT}).status_code == 405
