"""bcrypt by the system's libcrypt and by the package: the same hashes, and the package where the system cannot."""

import ctypes
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest

from tests.support.insides import bcrypt_hash

SECRETS = [b"", b"U*U", "pässwörd €".encode(), b"\xff\xff\xa3", bytes(range(1, 256))[:72], b"x" * 72]
SYSTEM = bcrypt_hash.of_system()
HASHERS = {"package": bcrypt.hashpw, **({"system": SYSTEM} if SYSTEM else {})}


class Library:
    """A libcrypt that answers as it is told."""

    def __init__(self, answer: bytes | None) -> None:
        def crypt_rn(*_: object) -> bytes | None:
            return answer

        self.crypt_rn: Any = crypt_rn


@pytest.mark.parametrize("hasher", HASHERS.values(), ids=HASHERS)
class TestHashes:
    @pytest.fixture(autouse=True)
    def by(self, hasher: Callable[[bytes, bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bcrypt_hash, "_hash", hasher)

    @pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
    def test_are_those_of_the_package(self, secret: bytes) -> None:
        made = bcrypt_hash.make(secret, 4)
        assert made.startswith("$2b$04$")
        assert bcrypt.hashpw(secret, made[:29].encode()) == made.encode()

    @pytest.mark.parametrize("spelling", ["$2a", "$2b", "$2x", "$2y"])
    @pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
    def test_are_checked_whatever_their_spelling(self, secret: bytes, spelling: str) -> None:
        hashed = spelling + bcrypt.hashpw(secret, bcrypt.gensalt(4)).decode()[3:]
        assert bcrypt_hash.check(secret, hashed)
        assert not bcrypt_hash.check(secret[:-1] + b"?", hashed)

    @pytest.mark.parametrize(
        "hashed",
        ["", "!", "$2b$12$", f"$2b$03${'.' * 53}", f"$2b$32${'.' * 53}", f"$2b$04${'*' * 53}", f"$6$salt${'.' * 86}"],
    )
    def test_what_is_none_no_secret_has(self, hashed: str) -> None:
        assert not bcrypt_hash.check(b"", hashed)

    @pytest.mark.parametrize("spelling", ["$2z", "$1b", "abc", "$2"])
    def test_of_another_kind_is_none(self, spelling: str) -> None:
        assert not bcrypt_hash.check(b"x", spelling + bcrypt_hash.make(b"x", 4)[3:])

    @pytest.mark.parametrize("secret", [b"x" * 73, b"x\0y"], ids=["long", "zero"])
    def test_none_is_made_of_a_part_of_a_secret(self, secret: bytes) -> None:
        """S8: nor has a secret the hash of its beginning."""
        hashed = bcrypt_hash.make(secret.partition(b"\0")[0][:72], 4)
        assert not bcrypt_hash.check(secret, hashed)
        with pytest.raises(ValueError, match="a part"):
            bcrypt_hash.make(secret, 4)


class TestSystem:
    """The package does it where the system has no libcrypt, or one that knows no bcrypt, or another."""

    @pytest.mark.parametrize(
        "library", [None, object(), Library(None), Library(b"*0"), Library(b"$2b$05$" + b"." * 53)]
    )
    def test_is_not_trusted_unless_it_is_right(self, library: object, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(_: str) -> object:
            if library is None:
                raise OSError("no such library")
            return library

        monkeypatch.setattr(ctypes, "CDLL", load)
        assert bcrypt_hash.of_system() is None

    def test_is_used_where_it_is_right(self) -> None:
        """On Debian, Ubuntu, Fedora and the images of Python, all of which have libxcrypt."""
        try:
            ctypes.CDLL("libcrypt.so.1")
        except OSError:
            pytest.skip("this system has no libcrypt.so.1")
        assert SYSTEM is not None
