"""The OpenAPI document."""

import json
import re
from typing import Any

import pytest

from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.insides import ApiError, ErrorCode, problems
from tests.support.openapi import errors, members, openapi, operation, operations

OAUTH = {"/token", "/revoke", "/introspect"}
CODES = {str(code): code for code in ErrorCode}
EVERYWHERE = {"method_not_allowed", "payload_too_large", "internal_error"}


def declared(method: str, path: str) -> dict[str, Any]:
    found = operation(method, path)
    assert found
    return found


@pytest.mark.parametrize(("method", "path"), operations())
class TestOperations:
    def test_has_a_readable_id(self, method: str, path: str) -> None:
        name = declared(method, path)["operationId"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert [other for other in operations() if declared(*other)["operationId"] == name] == [(method, path)]

    def test_says_what_it_does_and_where_it_belongs(self, method: str, path: str) -> None:
        found = declared(method, path)
        assert re.fullmatch(r"[A-Z][^.:;]+", found["summary"])
        assert found["description"].startswith(found["summary"])
        [tag] = found["tags"]
        assert {entry["name"]: entry["description"] for entry in openapi()["tags"]}[tag]

    def test_names_its_errors_one_by_one(self, method: str, path: str) -> None:
        """Each code of a status has a schema of its own, and an example in that very error's words."""
        found, seen = declared(method, path), set[str]()
        for status in [status for status in found["responses"] if int(status) >= 400]:
            named = errors(found, status)
            content = found["responses"][status]["content"]["application/json"]
            assert named.keys() == content["examples"].keys()
            for code, schema in named.items():
                assert CODES[code].status == int(status)
                example = content["examples"][code]["value"]
                assert schema["required"] == list(example) == list(schema["properties"])
                assert content["examples"][code]["summary"] == CODES[code].words
                assert status == "422" or example["detail"] == CODES[code].words
                assert ("error_description" in example) == (path in OAUTH)
            seen |= named.keys()
        assert seen >= EVERYWHERE

    def test_declares_the_headers_of_its_answers(self, method: str, path: str) -> None:
        for status, answer in declared(method, path)["responses"].items():
            assert answer["headers"]["X-Request-ID"]["required"]
            assert ("Retry-After" in answer["headers"]) == (status in {"429", "503"})
            assert ("Allow" in answer["headers"]) == (status == "405")

    def test_says_who_may_ask(self, method: str, path: str) -> None:
        found = declared(method, path)
        public = path in {"/token", "/revoke", *BY_MAIL} or path.startswith(("/health", "/.well-known"))
        schemes = ["ClientBasic"] if path == "/introspect" else ["OAuth2PasswordBearer", "HTTPBearer"]
        assert found["security"] == ([] if public else [{scheme: []} for scheme in schemes])
        assert ("401" in found["responses"]) == (not public or path == "/token")

    def test_requires_nothing_that_has_a_default(self, method: str, path: str) -> None:
        for content in declared(method, path).get("requestBody", {}).get("content", {}).values():
            for schema in members(content["schema"]):
                assert not any("default" in rule for rule in schema["properties"].values())
        for parameter in declared(method, path).get("parameters", []):
            assert parameter["required"] == (parameter["in"] == "path")
            assert "anyOf" not in parameter["schema"], parameter


BY_MAIL = {"/password/forgot", "/password/reset", "/email/verify", "/email/undo", "/invitation/accept"}


class TestDocument:
    @ON_SQLITE
    def test_is_what_the_service_answers(self, api: Api) -> None:
        assert api.http.get("/openapi.json").json() == openapi()

    def test_is_what_the_command_writes(self) -> None:
        """It needs no database and no key."""
        done = command("openapi", url="postgresql://nobody@127.0.0.1:1/nothing")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == openapi()

    def test_explains_every_error_code(self) -> None:
        for code in ErrorCode:
            assert f"| `{code}` | {code.status} | {code.words} |" in openapi()["info"]["description"]

    def test_never_shows_a_password_in_an_answer(self) -> None:
        """S11."""
        schemas = openapi()["components"]["schemas"]
        assert not any("password" in name for name in schemas["UserPublic"]["properties"])
        assert schemas["UserCreate"]["properties"]["password"]["writeOnly"] is True

    def test_says_how_to_log_in(self) -> None:
        schemes = openapi()["components"]["securitySchemes"]
        assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "token"
        assert (schemes["HTTPBearer"]["type"], schemes["HTTPBearer"]["scheme"]) == ("http", "bearer")

    def test_describes_two_grants_with_what_each_requires(self) -> None:
        [content] = declared("POST", "/token")["requestBody"]["content"].values()
        password, refresh = members(content["schema"])
        assert set(password["required"]) == {"username", "password"}
        assert password["properties"]["grant_type"]["enum"] == ["password"]
        assert set(refresh["required"]) == {"grant_type", "refresh_token"}
        assert refresh["properties"]["grant_type"]["enum"] == ["refresh_token"]

    def test_a_user_id_is_a_text_of_one_form(self) -> None:
        for method, path in operations():
            for parameter in declared(method, path).get("parameters", []):
                if parameter["name"] == "user_id" and parameter["in"] == "path":
                    assert parameter["schema"]["type"] == "string"
                    assert parameter["schema"]["pattern"] == "^(me|[1-9][0-9]{0,9})$"

    def test_no_example_makes_an_admin(self) -> None:
        assert not re.search(r'"is_admin": ?true', json.dumps(openapi()))
        schemas = openapi(registration_enabled=True)["components"]["schemas"]
        assert schemas["UserCreate"]["examples"][0]["is_admin"] is False
        assert schemas["UserPatch"]["examples"] == [{"age": 42}]

    def test_a_patch_is_a_merge_patch(self) -> None:
        kinds = declared("PATCH", "/users/{user_id}")["requestBody"]["content"]
        assert kinds.keys() == {"application/json", "application/merge-patch+json"}

    @pytest.mark.parametrize("composition", [True, False])
    def test_tells_machines_which_characters_a_password_needs(self, composition: bool) -> None:
        document = openapi(password_composition=composition)
        rule = document["components"]["schemas"]["UserCreate"]["properties"]["password"]

        def fits(password: str) -> bool:
            patterns = [part["pattern"] for part in rule.get("allOf", [])]
            return len(password) >= rule["minLength"] and all(re.search(one, password) for one in patterns)

        assert fits("Zk4m-Wq7x-Px7yZ")
        assert fits("Ünïçødé-Wörds-7")
        assert [fits(password) for password in ("zk4m-wq7x-px7yz", "ZK4M-WQ7X-PX7YZ", "Zkam-Wqsx-Pxyyz")] == [
            not composition
        ] * 3
        assert fits("Zk4m-Wq7x-Px7y") == composition


class TestErrors:
    @pytest.mark.parametrize("code", ErrorCode)
    def test_says_in_ascii_what_oauth_asks_for(self, code: ErrorCode) -> None:
        """RFC 6749 section 5.2: no quotation mark, no backslash, nothing beyond ASCII."""
        error = ApiError(code, 'a "quoted" \\ wörd', loc=("body", "x"))
        body = problems.in_oauth(problems.body(error), code.status)
        assert re.fullmatch(r"[ !#-\[\]-~]+", body["error_description"])
        assert re.fullmatch(r"[a-z_]+", body["error"])
