"""Hashes that other systems made of passwords: which of them can be verified, and how.

bcrypt's own are not foreign, but the same hash has several spellings: `spelled_plainly` takes them off.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import NamedTuple

from userapi.security import bcrypt_hash

# A hash says itself how much work it is. One that would take seconds, or very much memory, is not verified.
MAX_BCRYPT_COST = 15
MAX_PBKDF2_ROUNDS = 5_000_000
MAX_SCRYPT_BLOCKS = 2**20  # N x r, of 128 bytes each: 128 MiB
MAX_SCRYPT_WORK = 2**22  # N x r x p
MAX_ARGON2_MEMORY = 2**18  # KiB: 256 MiB
MAX_ARGON2_WORK = 2**20  # KiB x passes
MAX_LANES = 16  # scrypt's and Argon2's p
MIN_DIGEST = 16  # bytes: a shorter one would have many passwords

UNUSABLE = "!"  # how Django begins the hash of an account that nobody can log in to with a password


class ForeignHash(NamedTuple):
    """A hash that can be verified: `kind` is its algorithm with its parameters, `check(secret)` does it."""

    kind: str
    affordable: bool
    check: Callable[[bytes], bool]


def read(hashed_password: str) -> ForeignHash | None:
    """Return a hash as what can verify it: PBKDF2, scrypt, Argon2, bcrypt over SHA-256; None if it is none of these."""
    for spelling, reader in _SPELLINGS:
        if found := spelling.fullmatch(hashed_password):
            try:
                return reader(found)
            except ValueError:  # no base64
                return None
    return None


def refusal(hashed_password: str) -> str | None:
    """Return why a hash is not taken over, as a few words; None for one that is."""
    if hashed_password.startswith(UNUSABLE):
        return None
    cost, foreign = bcrypt_hash.cost_of(hashed_password), read(hashed_password)
    if cost is None and foreign is None:
        return "is no hash of bcrypt, Argon2, scrypt or PBKDF2"
    if (cost or 0) > MAX_BCRYPT_COST or (foreign and not foreign.affordable):
        return "would take too long or too much memory to verify"
    return None


def spelled_plainly(hashed_password: str) -> str:
    """Return a hash without what frameworks put before it: `{CRYPT}$2b$...` and `bcrypt$$2b$...` are `$2b$...`."""
    return _PREFIX.sub("", hashed_password, count=1)


_PREFIX = re.compile(r"^(\{(CRYPT|BCRYPT|ARGON2)\}(?=\$)|bcrypt\$(?=\$2)|argon2(?=\$argon2))")


def _pbkdf2(name: str, rounds: int, salt: bytes, digest: bytes) -> ForeignHash:
    """PBKDF2 with HMAC (RFC 8018 section 5.2)."""

    def check(secret: bytes) -> bool:
        return hmac.compare_digest(hashlib.pbkdf2_hmac(name, secret, salt, rounds, len(digest)), digest)

    affordable = 1 <= rounds <= MAX_PBKDF2_ROUNDS and len(digest) >= MIN_DIGEST
    return ForeignHash(f"pbkdf2-{name} {rounds}", affordable, check)


def _derive_scrypt(secret: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=128 * (n + p + 2) * r + 2**20, dklen=length)


def _affordable_scrypt(n: int, r: int, p: int) -> bool:
    if n < 2 or n & (n - 1) or not 1 <= p <= MAX_LANES or r < 1:
        return False
    return n * r <= MAX_SCRYPT_BLOCKS and n * r * p <= MAX_SCRYPT_WORK


def _scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes) -> ForeignHash:
    """Return scrypt (RFC 7914)."""

    def check(secret: bytes) -> bool:
        return hmac.compare_digest(_derive_scrypt(secret, salt, n, r, p, len(digest)), digest)

    return ForeignHash(f"scrypt {n} {r} {p}", _affordable_scrypt(n, r, p) and len(digest) >= MIN_DIGEST, check)


def _firebase(n: int, r: int, salt: bytes, signer_key: bytes, encrypted: bytes) -> ForeignHash:
    """Return Firebase's scrypt: with what it derives as key, AES-256-CTR encrypts the signer key of the project."""

    def check(secret: bytes) -> bool:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 - hardly ever needed

        key = _derive_scrypt(secret, salt, n, r, 1, 32)
        encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(signer_key) + encryptor.finalize(), encrypted)

    affordable = _affordable_scrypt(n, r, 1) and len(encrypted) == len(signer_key) >= MIN_DIGEST
    return ForeignHash(f"firebase {n} {r}", affordable, check)


def _argon2(found: re.Match[str]) -> ForeignHash:
    """Return Argon2 (RFC 9106), which says its parameters as its reference implementation does."""
    memory, passes, lanes = int(found["m"]), int(found["t"]), int(found["p"])

    def check(secret: bytes) -> bool:
        from argon2 import Type, exceptions, low_level  # noqa: PLC0415 - not before such a hash is there

        types = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
        try:
            return low_level.verify_secret(found[0].encode(), secret, types[found["type"]])
        except exceptions.Argon2Error:
            return False

    affordable = memory <= MAX_ARGON2_MEMORY and memory * passes <= MAX_ARGON2_WORK and 1 <= lanes <= MAX_LANES
    return ForeignHash(f"{found['type']} {memory} {passes} {lanes}", affordable, check)


def _bcrypt_over(before: Callable[[bytes], bytes], hashed_password: str) -> ForeignHash:
    """Return bcrypt of what SHA-256 made of the password, which may be longer than bcrypt's 72 bytes."""
    cost = int(hashed_password[4:6])

    def check(secret: bytes) -> bool:
        return bcrypt_hash.check(before(secret), hashed_password)

    return ForeignHash(f"bcrypt-sha256 {cost}", 4 <= cost <= MAX_BCRYPT_COST, check)


def _passlib_bcrypt(found: re.Match[str]) -> ForeignHash:
    salt = found["salt"].encode()

    def keyed(secret: bytes) -> bytes:
        return base64.b64encode(hmac.digest(salt, secret, "sha256"))

    def plain(secret: bytes) -> bytes:
        return base64.b64encode(hashlib.sha256(secret).digest())

    hashed_password = f"${found['ident']}${int(found['cost']):02}${found['salt']}{found['digest']}"
    return _bcrypt_over(keyed if found["version"] else plain, hashed_password)


def _base64(text: str) -> bytes:
    """Return the bytes of base64, with or without padding; passlib writes `.` for `+`."""
    text = text.rstrip("=").replace(".", "+")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("BASE64", r"[A-Za-z0-9+/.]+={0,2}"), re.ASCII)


_SPELLINGS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], ForeignHash]]] = [
    (  # Django
        _pattern(r"pbkdf2_(sha1|sha256)\$(\d{1,9})\$([^$]+)\$(BASE64)"),
        lambda m: _pbkdf2(m[1], int(m[2]), m[3].encode(), _base64(m[4])),
    ),
    (  # passlib, where SHA-1 goes without saying
        _pattern(r"\$pbkdf2(?:-(sha256|sha512))?\$(\d{1,9})\$(BASE64)\$(BASE64)"),
        lambda m: _pbkdf2(m[1] or "sha1", int(m[2]), _base64(m[3]), _base64(m[4])),
    ),
    (  # Werkzeug
        _pattern(r"pbkdf2:(sha1|sha256|sha512):(\d{1,9})\$([^$]+)\$([0-9a-f]+)"),
        lambda m: _pbkdf2(m[1], int(m[2]), m[3].encode(), bytes.fromhex(m[4])),
    ),
    (  # Werkzeug
        _pattern(r"scrypt:(\d{1,9}):(\d{1,4}):(\d{1,4})\$([^$]+)\$([0-9a-f]+)"),
        lambda m: _scrypt(int(m[1]), int(m[2]), int(m[3]), m[4].encode(), bytes.fromhex(m[5])),
    ),
    (  # Django
        _pattern(r"scrypt\$(\d{1,9})\$([^$]+)\$(\d{1,4})\$(\d{1,4})\$(BASE64)"),
        lambda m: _scrypt(int(m[1]), int(m[3]), int(m[4]), m[2].encode(), _base64(m[5])),
    ),
    (  # passlib
        _pattern(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,4}),p=(\d{1,4})\$(BASE64)\$(BASE64)"),
        lambda m: _scrypt(2 ** int(m[1]), int(m[2]), int(m[3]), _base64(m[4]), _base64(m[5])),
    ),
    (  # Firebase, as Supabase spells it: the salt is followed by the project's separator
        _pattern(r"\$fbscrypt\$v=1,n=(\d{1,2}),r=(\d{1,4}),p=1,ss=(BASE64),sk=(BASE64)\$(BASE64)\$(BASE64)"),
        lambda m: _firebase(2 ** int(m[1]), int(m[2]), _base64(m[5]) + _base64(m[3]), _base64(m[4]), _base64(m[6])),
    ),
    (
        _pattern(
            r"\$(?P<type>argon2(?:id|i|d))\$v=\d+\$m=(?P<m>\d{1,9}),t=(?P<t>\d{1,6}),p=(?P<p>\d{1,4})\$BASE64\$BASE64"
        ),
        _argon2,
    ),
    (  # Django
        _pattern(r"bcrypt_sha256\$(\$2[aby]\$\d\d\$[./A-Za-z0-9]{53})"),
        lambda m: _bcrypt_over(lambda secret: hashlib.sha256(secret).hexdigest().encode(), m[1]),
    ),
    (  # passlib: in version 2 with the salt as a key, before with none
        _pattern(
            r"\$bcrypt-sha256\$(?:(?P<version>v=2),t=)?(?P<ident>2[aby]),(?:r=)?(?P<cost>\d{1,2})"
            r"\$(?P<salt>[./A-Za-z0-9]{22})\$(?P<digest>[./A-Za-z0-9]{31})"
        ),
        _passlib_bcrypt,
    ),
]
