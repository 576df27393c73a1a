"""Odd input, on every route and parameter: never an error of the server's, always an answer in the common shape."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service import Actor, Api, openapi, operation, operations

MAX_BODY_BYTES = 64 * 1024
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

ODD_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "fraction": 1.5,
    "past 2^31": 2**31,
    "past 2^63": 2**63,
    "10^18": 10**18,
    "4000 digits": int("9" * 4000),
    "NaN": float("nan"),
    "infinity": float("inf"),
    "empty": "",
    "NUL": "\0",
    "NUL inside": "alice\0",
    "lone surrogate": "alice\ud800",
    "lone surrogate in an address": "alice\udfff@example.com",
    "emoji": "\N{GRINNING FACE}" * 10,
    "right to left": "\u202ealice\u202c",
    "60 kB": "x" * 60_000,
    "60 kB of digits": "9" * 60_000,
    "60 kB address": "a" * 30_000 + "@" + "b" * 29_000 + ".com",
    "list": [],
    "object": {"username": "alice"},
    "deep list": json.loads("[" * 500 + "]" * 500),
    "deep object": json.loads('{"a":' * 400 + "1" + "}" * 400),
}
# What may stand in a path or a query, already encoded.
ODD_PARAMETERS = [
    "0",
    "-1",
    "2147483648",
    "9223372036854775808",
    "1000000000000000000",
    "-9223372036854775809",
    "9" * 5000,
    "1.0",
    "1e3",
    "1_0",
    "+1",
    "0x1",
    "%20",
    "nan",
    "inf",
    "null",
    "true",
    "%00",
    "1%00",
    "%FF",
    "%ED%A0%80",
    "%F0%9F%98%80",
    "%EF%BC%91",
    "..%2F..",
    "%2e%2e",
    "'%20OR%201=1",
    "x" * 20_000,
]
ODD_BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "trailing comma": b'{"age": 1,}',
    "not UTF-8": b'{"username": "\xff\xfe"}',
    "byte order mark": b'\xef\xbb\xbf{"age": 9}',
    "UTF-16": '{"age": 9}'.encode("utf-16"),
    "NUL": b"\0",
    "null": b"null",
    "number": b"1e999",
    "NaN": b"NaN",
    "text": b'"text"',
    "list": b"[]",
    "deep list": b"[" * 30_000 + b"]" * 30_000,
    "deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "unclosed": b"[" * 60_000,
    "long number": b'{"age": ' + b"9" * 60_000 + b"}",
    "many keys": json.dumps({str(number): 0 for number in range(5000)}).encode(),
    "same key twice": b'{"age": 1, "age": 2}',
}
TARGET = "target"


def bodies() -> Iterator[tuple[str, str, str, list[str]]]:
    """The method, path, media type and field names of every route that takes a body."""
    for method, path in operations():
        declared = operation(method, path)
        assert declared
        for media, content in declared.get("requestBody", {}).get("content", {}).items():
            name = content["schema"]["$ref"].rpartition("/")[2]
            yield method, path, media, list(openapi()["components"]["schemas"][name]["properties"])


def parameters(place: str) -> Iterator[tuple[str, str, str]]:
    """The method, path and name of every parameter in this place."""
    for method, path in operations():
        declared = operation(method, path)
        assert declared
        for parameter in declared.get("parameters", []):
            if parameter["in"] == place:
                yield method, path, parameter["name"]


BODIES = list(bodies())
SOUND = {"username": "somebody", "email": "somebody@example.com", "password": "Zk4mWq7x"}


@pytest.fixture
def target(api: Api) -> Actor:
    """A user to be changed, logged in."""
    return api.new_actor(TARGET)


def send(api: Api, method: str, path: str, target: Actor, **options: Any) -> Any:
    """Make the request as an admin, about `target`; check that the answer is a clean one."""
    path = path.replace("{user_id}", str(target.id)).replace("{session_id}", "1")
    answer = api.admin.request(method, path, **options)
    assert answer.status_code < 500, f"{method} {path}: {answer.text}"
    if answer.status_code >= 400:
        body = answer.json()
        assert isinstance(body["code"], str), answer.text
        assert isinstance(body["detail"], str | list), answer.text
    return answer


class TestBody:
    """S12."""

    @pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES.keys())
    def test_odd_value_of_any_field(self, api: Api, target: Actor, value: Any) -> None:
        for method, path, media, fields in BODIES:
            for field in fields:
                values = {name: sound for name, sound in SOUND.items() if name in fields} | {field: value}
                if media.endswith("json"):
                    send(api, method, path, target, content=json.dumps(values), headers={"Content-Type": media})
                elif isinstance(value, str):
                    encoded = {name: text.encode("utf-8", "surrogatepass") for name, text in values.items()}
                    send(api, method, path, target, data=encoded)
                    send(api, method, path, target, data=encoded, files={"x": b"y"})
                    send(api, method, path, target, files={field: ("name", value.encode("utf-8", "replace"))})

    @pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
    def test_odd_body(self, api: Api, target: Actor, body: bytes) -> None:
        for method, path, media, _ in BODIES:
            send(api, method, path, target, content=body, headers={"Content-Type": media})

    @pytest.mark.parametrize(
        "media",
        [
            "text/plain",
            "application/json; charset=utf-16",
            "application/xml",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded; charset=nonsense",
            "nonsense",
            "",
        ],
    )
    def test_odd_content_type(self, api: Api, target: Actor, media: str) -> None:
        for method, path, _, _ in BODIES:
            send(api, method, path, target, content=b'{"age": 9}', headers={"Content-Type": media})

    def test_form_of_very_many_fields(self, api: Api, target: Actor) -> None:
        form = b"&".join(b"f%d=1" % number for number in range(5000))
        send(api, "POST", "/token", target, content=form, headers=FORM)


class TestParameters:
    """S12."""

    @pytest.mark.parametrize("value", ODD_PARAMETERS, ids=lambda value: value[:24])
    def test_odd_parameter(self, api: Api, target: Actor, value: str) -> None:
        before = api.sql("SELECT * FROM users ORDER BY id")
        for method, path, name in parameters("path"):
            answer = send(api, method, path.replace(f"{{{name}}}", value), target, json={"age": 9})
            assert answer.status_code in {404, 405, 422}, f"{method} {path}: {answer.text}"
        for method, path, name in parameters("query"):
            send(api, method, f"{path}?{name}={value}", target)
        assert api.sql("SELECT * FROM users ORDER BY id") == before

    @pytest.mark.parametrize(
        "value",
        [b"\xff", b"x" * 20_000, b"*", b'""', b'"\xf0\x9f\x98\x80"', b'"-1"', b"9" * 5000],
        ids=lambda value: ascii(value)[:24],
    )
    def test_odd_header(self, api: Api, target: Actor, value: bytes) -> None:
        for method, path, name in [("GET", "/users/me", "X-Request-ID"), *parameters("header")]:
            send(api, method, path, target, headers={name: value})

    @pytest.mark.parametrize(
        "query", ["?", "?&&&=", "?page=1&page=2", "?%00=%00", "?page[]=1", "?;", "?" + "a=1&" * 5000]
    )
    def test_odd_query(self, api: Api, target: Actor, query: str) -> None:
        send(api, "GET", f"/users{query}", target)


class TestBodySize:
    """S18."""

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize(("method", "path", "media"), [taken[:3] for taken in BODIES])
    def test_more_than_64_kib_is_refused(
        self, api: Api, target: Actor, method: str, path: str, media: str, chunked: bool
    ) -> None:
        start = b'{"age": 9, "x": "' if media.endswith("json") else b"token=x&username=admin&password="
        body = start + b"x" * MAX_BODY_BYTES
        content = iter([body[:1000], body[1000:]]) if chunked else body
        answer = send(api, method, path, target, content=content, headers={"Content-Type": media})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        assert answer.headers["Content-Type"] == "application/json"
        assert target.get("/users/me").json() == target.user

    @pytest.mark.parametrize("chunked", [False, True])
    def test_64_kib_are_not_refused(self, target: Actor, chunked: bool) -> None:
        start, end = b'{"age": 9, "x": "', b'"}'
        body = start + b"x" * (MAX_BODY_BYTES - len(start) - len(end)) + end
        assert len(body) == MAX_BODY_BYTES
        answer = target.put("/users/me", content=iter([body[:1000], body[1000:]]) if chunked else body, headers=JSON)
        assert (answer.status_code, answer.json()["age"]) == (200, 9)

    def test_stranger_learns_no_more_than_the_limit(self, api: Api) -> None:
        answer = api.http.put("/users/me", content=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
        assert answer.status_code in {401, 413}
        assert isinstance(answer.json()["code"], str)


class TestMethodsAndPaths:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/users", {"GET", "POST"}),
            ("POST", "/users/me", {"GET", "PUT", "DELETE"}),
            ("GET", "/token", {"POST"}),
            ("DELETE", "/health/live", {"GET"}),
        ],
    )
    def test_wrong_method_names_the_right_ones(self, api: Api, method: str, path: str, allowed: set[str]) -> None:
        """S21."""
        answer = api.admin.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) >= allowed

    @pytest.mark.parametrize("path", ["/", "/nothing", "/users/1/2/3", "/%00", "/%FF", "//users", "/users/me/%2e%2e"])
    def test_unknown_path_is_not_found_in_the_common_shape(self, api: Api, path: str) -> None:
        answer = api.admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
