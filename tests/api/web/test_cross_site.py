"""What pages of other sites may do, by the browser of somebody who visits them."""

from collections.abc import Iterator

import pytest

from tests.support.client import Api, client_of
from tests.support.people import ADMIN_PASSWORD, PASSWORD
from tests.support.servers import Shared

ALLOWED = "https://app.example"
EVIL = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example"}
LOGIN = {"username": "admin", "password": ADMIN_PASSWORD}
FORM = "application/x-www-form-urlencoded"
ALICE = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}


@pytest.fixture
def client(shared: Shared, kind: str) -> Iterator[Api]:
    with client_of(shared.service(kind, CORS_ORIGINS=ALLOWED, REGISTRATION_ENABLED="true")) as api:
        yield api


class TestCrossSite:
    """S38."""

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ALLOWED}.evil.example"])
    def test_it_logs_nobody_in_or_out_and_makes_nobody(self, client: Api, origin: str) -> None:
        """S38."""
        token = client.admin.token
        headers = EVIL | {"Origin": origin}
        sessions = client.sql("SELECT id FROM login_sessions")
        for answer in (
            client.http.post("/token", data=LOGIN, headers=headers),
            client.http.post("/revoke", data={"token": token}, headers=headers),
            client.http.post("/register", json=ALICE, headers=headers),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_refused")
        assert client.sql("SELECT id FROM login_sessions") == sessions
        assert client.sql("SELECT username FROM users") == [("admin",)]

    def test_it_may_lead_here(self, client: Api) -> None:
        """A link in a mail that is read on another site; the page does nothing before its button is pressed."""
        for page in ("verify", "undo", "reset", "invitation", "forgot"):
            answer = client.http.get(f"/account/{page}?token=x", headers=EVIL)
            assert answer.status_code in {200, 400}, page
            assert answer.headers["Content-Type"].startswith("text/html")
            for data, media, status in (("login=admin", FORM, 403), ("{}", "application/json", 415)):
                headers = {"Content-Type": media, **(EVIL if status == 403 else {})}
                refused = client.http.post(f"/account/{page}", content=data, headers=headers)
                assert refused.status_code == status
                assert "That did not work" in refused.text  # a page, too

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": ALLOWED},
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"},
            {"Sec-Fetch-Site": "none"},
            {},
        ],
    )
    def test_others_may(self, client: Api, headers: dict[str, str]) -> None:
        assert client.http.post("/token", data=LOGIN, headers=headers).status_code == 200
        assert client.http.post("/register", json=ALICE, headers=headers).status_code == 201
