"""Odd requests, as raw bytes: the same for the same seed."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_from_bytes, urlencode

T = TypeVar("T")

MARK = "Fuzzed-Secret-4821"  # sent where passwords go: it must not come back


class Tokens(NamedTuple):
    """Access tokens of an admin and of a user, whom the requests may destroy, and their ids."""

    admin: str
    user: str
    ids: tuple[int, int]


ROUTES = [
    ("POST", "/token"),
    ("POST", "/revoke"),
    ("POST", "/register"),
    ("POST", "/users"),
    ("GET", "/users"),
    ("GET", "/users/{id}"),
    ("PUT", "/users/{id}"),
    ("PATCH", "/users/{id}"),
    ("DELETE", "/users/{id}"),
    ("GET", "/users/{id}/sessions"),
    ("DELETE", "/users/{id}/sessions/{id}"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "PRI", "M-SEARCH"]
NUMBERS = [0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**18, 10**40, -(2**63), 1e308, 0.1, -0.0]
TEXTS = [
    "",
    " ",
    "a",
    "x" * 5000,
    "\0",
    "\r\nX: y",
    "\u017f",
    "ﬁ@ß.de",
    "🙂" * 9,
    "'; DROP TABLE users--",
    "%s%n",
    "../..",
    MARK,
]
RAW = [b"\xff\xfe", b"\0", b"%", b"%zz", b"%00", b"\\ud800", b"\x7f", b"\r", b"\n", b"\r\n\r\n", b"NaN", b"1e999"]
FIELDS = ["username", "email", "password", "age", "is_admin", "is_active", "current_password", "id", "__proto__"]
QUERY = ["page", "page_size", "is_active", "is_admin", "q", "sort", "after", "total", "keep_current", "x"]
FORM = ["grant_type", "username", "password", "refresh_token", "scope", "client_id", "client_secret", "token", "x"]
LENGTHS = [
    b"-1",
    b"+5",
    b"0x10",
    b"5, 5",
    b"5,6",
    b"1e3",
    b"",
    b" ",
    b"9" * 40,
    b"18446744073709551616",
    b"1_0",
    b"65537",
]
CHUNKS = [b"-1", b"g", b"0x5", b"f" * 20, b"5;a=b", b"5 ", b"", b"5;" + b"x" * 2000, b"00000005", b"7fffffffffffffff"]
HEADERS: list[tuple[bytes, list[bytes]]] = [
    (b"Host", [b"", b"a b", b"[::1", b"x" * 300, b"evil.example\t", b"\xff"]),
    (
        b"Content-Type",
        [b"", b"multipart/form-data", b"multipart/form-data; boundary=", b"text/plain", b"a/b; charset=\xff"],
    ),
    (b"Content-Encoding", [b"gzip", b"br, gzip"]),
    (b"Transfer-Encoding", [b"gzip", b"chunked, chunked", b"identity", b"xchunked", b"chunked\t", b"\x0bchunked"]),
    (b"Expect", [b"100-continue", b"200-maybe"]),
    (b"Upgrade", [b"websocket", b"h2c"]),
    (b"Connection", [b"close", b"Upgrade", b"keep-alive, x", b"\0"]),
    (b"If-Match", [b'"1"', b'W/"1"', b"*", b'"', b'"' + b"9" * 50 + b'"', b"\xff", b'"1", "2"']),
    (
        b"Authorization",
        [b"Bearer", b"Bearer ", b"Bearer a.b.c", b"Basic eA==", b"bearer \xff", b"Bearer " + b"x" * 9000],
    ),
    (b"Origin", [b"null", b"https://evil.example", b"\0"]),
    (b"Access-Control-Request-Method", [b"DELETE", b""]),
    (b"Sec-Fetch-Site", [b"cross-site", b"x"]),
    (b"X-Forwarded-For", [b"nobody", b"::ffff:1.2.3.4", b"1.2.3.4, " * 500, b"\xff", b"[::1]:99999"]),
    (b"X-Forwarded-Proto", [b"https", b"x" * 50, b"\xff"]),
    (b"X-Request-ID", [b"", b"a" * 65, b"\x1b[31m", b"a\tb"]),
    (b"Cookie", [b"a=b; " * 900, b"=", b"\xff=\0"]),
    (b"X: y\r\n z", [b"folded"]),
    (b"Bad Name", [b"x"]),
    (b"", [b"no name"]),
]


class Odd:
    """Makes requests that are a little wrong, or wrong throughout."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tokens = Tokens("", "", (1, 2))

    def requests(self, count: int, tokens: Tokens) -> Iterator[bytes]:
        """Yield so many requests, most of which carry one of the tokens."""
        self.tokens = tokens
        for _ in range(count):
            made = self._request()
            while self._rarely(0.2):
                made = self._broken(made)
            yield made[:100_000]

    def _request(self) -> bytes:
        method, path = self.random.choice(ROUTES)
        target = path.replace("{id}", str(self._one([*self.tokens.ids * 3, "me", "me", *NUMBERS]))).encode()
        body, media = self._body(path) if method in {"POST", "PUT", "PATCH"} or self._rarely() else (b"", b"")
        if self._rarely(0.3) or path == "/users":
            target += b"?" + self._query()
        if self._rarely():
            method = self._one(METHODS)
        headers = [(b"Host", b"127.0.0.1"), (b"Content-Type", media)]
        if not self._rarely(0.2):
            token = self._one([self.tokens.admin, self.tokens.user])
            headers.append((b"Authorization", b"Bearer " + token.encode()))
        for _ in range(self._one([0, 0, 0, 0, 1, 1, 3])):
            name, values = self._one(HEADERS)
            headers.append((name, self._one(values)))
        version = self._one([b"HTTP/1.1"] * 90 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1", b"http/1.1", b""])
        line = method.encode() + b" " + target + b" " + version
        framing, body = self._framed(body)
        self.random.shuffle(headers)
        return b"\r\n".join([line, *(n + b": " + v for n, v in headers), *framing, b"", b""]) + body

    def _framed(self, body: bytes) -> tuple[list[bytes], bytes]:
        """Return the headers that say how long a body is, and the body as sent: mostly right."""
        length = b"Content-Length: %d" % len(body)
        kind = self.random.random()
        if kind < 0.8:
            return [length], body
        if kind < 0.84:
            return [b"Content-Length: " + self._one(LENGTHS)], body
        if kind < 0.87:
            return [length, b"Content-Length: %d" % (len(body) + self._one([-1, 0, 1]))], body
        chunks = b""
        for start in range(0, len(body), 700):
            part = body[start : start + 700]
            size = self._one(CHUNKS) if self._rarely(0.03) else b"%x" % len(part)
            chunks += size + b"\r\n" + part + (b"" if self._rarely(0.03) else b"\r\n")
        trailer = self._one([b"", b"", b"X: y\r\n", b"Content-Length: 5\r\n", b"X" * 3000])
        both = [length] if self._rarely(0.2) else []
        return [b"Transfer-Encoding: chunked", *both], chunks + b"0\r\n" + trailer + b"\r\n"

    def _body(self, path: str) -> tuple[bytes, bytes]:
        as_form = path in {"/token", "/revoke"} or self._rarely(0.05)
        if self._rarely():
            return self._junk(), self._one([b"application/json", b"application/x-www-form-urlencoded", b"text/plain"])
        if as_form:
            pairs = [(self._one(FORM), self._text()) for _ in range(self._one([1, 2, 3, 4, 40]))]
            pairs += [("username", "admin"), ("password", MARK)] if self._rarely(0.5) else []
            return urlencode(pairs, errors="replace").encode(), b"application/x-www-form-urlencoded"
        text = json.dumps(self._document(), ensure_ascii=self._rarely(0.5))
        return text.encode(errors="replace"), b"application/json"

    def _document(self) -> Any:
        if self._rarely():
            return self._value(4)
        name = f"fuzz_{self.random.randrange(10**9)}"
        document = {"username": name, "email": f"{name}@example.com", "password": MARK, "age": 30}
        for _ in range(self._one([0, 1, 1, 2, 4])):
            field = self._one(FIELDS)
            if self._rarely(0.3):
                document.pop(field, None)
            else:
                document[field] = self._value(2)
        return document

    def _value(self, depth: int) -> Any:
        plain: list[Callable[[], Any]] = [
            lambda: self._one(NUMBERS),
            self._text,
            lambda: self._one([None, True, False, float("nan"), float("inf")]),
        ]
        if depth <= 0:
            return self._one(plain)()
        nested: list[Callable[[], Any]] = [
            lambda: [self._value(depth - 1) for _ in range(self._one([0, 1, 3]))],
            lambda: {self._text(): self._value(depth - 1) for _ in range(self._one([0, 1, 3]))},
            lambda: self._deep(self._one([10, 200, 900])),
        ]
        return self._one(plain * 4 + nested)()

    def _deep(self, depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    def _query(self) -> bytes:
        parts = []
        for _ in range(self._one([1, 1, 2, 5])):
            value = self._one([self._text().encode(errors="replace"), str(self._one(NUMBERS)).encode(), self._one(RAW)])
            parts.append(
                self._one(QUERY).encode() + b"=" + (value if self._rarely() else quote_from_bytes(value).encode())
            )
        return b"&".join(parts)

    def _text(self) -> str:
        return (
            self._one(TEXTS) if self._rarely(0.7) else "".join(chr(self.random.randrange(1, 0xD7FF)) for _ in range(9))
        )

    def _junk(self) -> bytes:
        return self._one([self.random.randbytes(200), b"[" * 30_000, b'{"a":' * 5000, b"1" * 60_000, *RAW])

    def _broken(self, made: bytes) -> bytes:
        """Break a request's bytes anywhere."""
        at = self.random.randrange(len(made) + 1)
        end = min(len(made), at + self.random.randrange(40))
        return self._one(
            [
                made[:at],
                made[:at] + made[end:],
                made[:at] + self._one(RAW) + made[at:],
                made[:at] + self.random.randbytes(self.random.randrange(1, 8)) + made[end:],
                made[:at] + made[at:end] * 50 + made[end:],
                made.replace(b"\r\n", b"\n"),
                made + made,
                made[at:] + made[:at],
            ]
        )

    def _rarely(self, chance: float = 0.1) -> bool:
        return self.random.random() < chance

    def _one(self, of: Sequence[T]) -> T:
        return self.random.choice(of)
