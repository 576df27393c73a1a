"""The OpenAPI document."""

import re

import pytest

from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import ErrorCode
from tests.support.openapi import openapi, operation, operations


@pytest.mark.parametrize(("method", "path"), operations())
class TestOperations:
    def test_has_a_readable_id(self, method: str, path: str) -> None:
        declared = operation(method, path)
        assert declared
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", declared["operationId"])
        same = [other for other in operations() if (operation(*other) or {})["operationId"] == declared["operationId"]]
        assert same == [(method, path)]

    def test_says_what_it_does_and_where_it_belongs(self, method: str, path: str) -> None:
        declared = operation(method, path)
        assert declared
        assert declared["summary"]
        assert declared["description"]
        assert len(declared["tags"]) == 1

    def test_describes_its_errors(self, method: str, path: str) -> None:
        declared = operation(method, path)
        assert declared
        for status, answer in declared["responses"].items():
            assert answer["description"]
            if int(status) >= 400:
                name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert {"detail", "code"} <= openapi()["components"]["schemas"][name]["properties"].keys()


class TestDocument:
    @ON_SQLITE
    def test_is_what_the_service_answers(self, api: Api) -> None:
        assert api.http.get("/openapi.json").json() == openapi()

    def test_lists_every_error_code(self) -> None:
        assert set(openapi()["components"]["schemas"]["ErrorCode"]["enum"]) == set(ErrorCode)

    def test_never_shows_a_password_in_an_answer(self) -> None:
        """S11."""
        schemas = openapi()["components"]["schemas"]
        assert not any("password" in name for name in schemas["UserPublic"]["properties"])
        assert schemas["UserCreate"]["properties"]["password"]["writeOnly"] is True

    def test_says_how_to_log_in(self) -> None:
        scheme = openapi()["components"]["securitySchemes"]["OAuth2PasswordBearer"]
        assert scheme["type"] == "oauth2"
        assert scheme["flows"]["password"]["tokenUrl"] == "token"
