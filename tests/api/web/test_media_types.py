"""What bodies may be: forms for tokens, JSON for all else."""

from typing import Any

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.people import ADMIN_PASSWORD

FORM = "application/x-www-form-urlencoded"
LOGIN = f"username=admin&password={ADMIN_PASSWORD}".encode()
WITH_FIELDS = pytest.mark.parametrize("path", ["/token", "/revoke"])


def post(api: Api, path: str, body: bytes, media_type: str | None) -> tuple[int, dict[str, Any]]:
    answer = api.http.post(path, content=body, headers={"Content-Type": media_type} if media_type else {})
    return answer.status_code, answer.json()


@ON_SQLITE
class TestForms:
    """S32: RFC 6749 appendix B."""

    @pytest.mark.parametrize("media_type", [FORM, f"{FORM}; charset=UTF-8", FORM.title()])
    def test_a_form_is_taken(self, api: Api, media_type: str) -> None:
        assert post(api, "/token", LOGIN, media_type)[0] == 200

    @WITH_FIELDS
    @pytest.mark.parametrize(
        ("media_type", "body"),
        [
            ("application/json", b'{"username": "admin", "token": "x"}'),
            ("multipart/form-data; boundary=x", b"--x\r\n" * 10_000),
            ("text/plain", LOGIN),
            (None, LOGIN),
        ],
    )
    def test_all_else_is_told_what_to_send(self, api: Api, path: str, media_type: str | None, body: bytes) -> None:
        """S32."""
        status, answer = post(api, path, body, media_type)
        assert (status, answer["code"], answer["error"]) == (415, "unsupported_media_type", "invalid_request")
        assert FORM in answer["detail"]

    @WITH_FIELDS
    @pytest.mark.parametrize(
        "body", [b"token=" + b"x" * 8187, b"token=x" + b"&a=b" * 32, b"token=x" + b"&" * 32, b"x" * 70_000]
    )
    def test_much_is_refused(self, api: Api, path: str, body: bytes) -> None:
        """S32."""
        status, answer = post(api, path, body, FORM)
        assert (status, answer["code"], answer["error"]) == (413, "payload_too_large", "invalid_request")

    def test_8_kib_and_32_fields_are_taken(self, api: Api) -> None:
        for more in (b"&scope=" + b"x" * (8192 - 7 - len(LOGIN)), b"&a=b" * 30):
            assert post(api, "/token", LOGIN + more, FORM)[0] == 200


class TestJson:
    @ON_SQLITE
    @pytest.mark.parametrize(("method", "path"), [("POST", "/users"), ("PUT", "/users/me"), ("PATCH", "/users/me")])
    @pytest.mark.parametrize("media_type", [FORM, "multipart/form-data; boundary=x", "text/plain", "application/jsonx"])
    def test_a_form_is_told_what_to_send(self, api: Api, method: str, path: str, media_type: str) -> None:
        answer = api.admin.request(method, path, content=b"age=5", headers={"Content-Type": media_type})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        assert "application/json" in answer.json()["detail"]

    @pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/merge-patch+json"])
    def test_json_by_any_of_its_names_is_taken(self, api: Api, media_type: str) -> None:
        answer = api.admin.patch("/users/me", content=b'{"age": 5}', headers={"Content-Type": media_type})
        assert (answer.status_code, answer.json()["age"]) == (200, 5)
