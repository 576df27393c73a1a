"""Odd input, on every route and parameter: never an error of the server's, always an answer in the common shape."""

import json
from typing import Any

import pytest

from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.routes import BODIES, parameters, send

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


SOUND = {"username": "somebody", "email": "somebody@example.com", "password": "Zk4m-Wq7x"}


class TestBody:
    """S12."""

    @pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES.keys())
    def test_odd_value_of_any_field(self, api: Api, alice: Actor, value: Any) -> None:
        for method, path, media, fields in BODIES:
            for field in fields:
                values = {name: sound for name, sound in SOUND.items() if name in fields} | {field: value}
                if media.endswith("json"):
                    send(api, method, path, alice, content=json.dumps(values), headers={"Content-Type": media})
                elif isinstance(value, str):
                    encoded = {name: text.encode("utf-8", "surrogatepass") for name, text in values.items()}
                    send(api, method, path, alice, data=encoded)
                    send(api, method, path, alice, data=encoded, files={"x": b"y"})
                    send(api, method, path, alice, files={field: ("name", value.encode("utf-8", "replace"))})

    @ON_SQLITE
    @pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
    def test_odd_body(self, api: Api, alice: Actor, body: bytes) -> None:
        for method, path, media, _ in BODIES:
            send(api, method, path, alice, content=body, headers={"Content-Type": media})

    @ON_SQLITE
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
    def test_odd_content_type(self, api: Api, alice: Actor, media: str) -> None:
        for method, path, _, _ in BODIES:
            send(api, method, path, alice, content=b'{"age": 9}', headers={"Content-Type": media})

    @ON_SQLITE
    def test_form_of_very_many_fields(self, api: Api, alice: Actor) -> None:
        form = b"&".join(b"f%d=1" % number for number in range(5000))
        send(api, "POST", "/token", alice, content=form, headers=FORM)


class TestParameters:
    """S12."""

    @pytest.mark.parametrize("value", ODD_PARAMETERS)
    def test_odd_parameter(self, api: Api, alice: Actor, value: str) -> None:
        before = api.sql("SELECT * FROM users ORDER BY id")
        for method, path, name in parameters("path"):
            answer = send(api, method, path.replace(f"{{{name}}}", value), alice, json={"age": 9})
            assert answer.status_code in {404, 405, 422}, f"{method} {path}: {answer.text}"
        for method, path, name in parameters("query"):
            send(api, method, f"{path}?{name}={value}", alice)
        assert api.sql("SELECT * FROM users ORDER BY id") == before

    @ON_SQLITE
    @pytest.mark.parametrize(
        "value",
        [b"\xff", b"x" * 20_000, b"*", b'""', b'"\xf0\x9f\x98\x80"', b'"-1"', b"9" * 5000],
    )
    def test_odd_header(self, api: Api, alice: Actor, value: bytes) -> None:
        for method, path, name in [("GET", "/users/me", "X-Request-ID"), *parameters("header")]:
            send(api, method, path, alice, headers={name: value})

    @ON_SQLITE
    @pytest.mark.parametrize(
        "query", ["?", "?&&&=", "?page=1&page=2", "?%00=%00", "?page[]=1", "?;", "?" + "a=1&" * 5000]
    )
    def test_odd_query(self, api: Api, alice: Actor, query: str) -> None:
        send(api, "GET", f"/users{query}", alice)
