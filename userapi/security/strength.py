"""Which passwords are too easily guessed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType

from userapi.errors import ApiError, ErrorCode, refuse
from userapi.models import MAX_PASSWORD_BYTES, MIN_PASSWORD, canonical

MIN_LOCAL_PART = 4  # characters of an e-mail address before the @ that a password may not contain
MIN_UNCOMPOSED = 15  # characters, where no kinds of characters are asked for (NIST SP 800-63B-4 section 3.1.1.2)
MAX_WAITING = 64  # estimates at once; each takes 1 to 10 ms, for odd passwords up to 0.1 s
SERVICE = "userapi"  # its name is no better a password than the user's

# What l33t characters stand for: where zxcvbn has more, its work is multiplied, up to 6 s for a password.
_PLAINLY: dict[str, list[str]] = {"c": ["("], "g": ["9"], "i": ["1", "!"], "l": ["1"], "t": ["7"]}


class Strength:
    """Decides whether a new password is strong enough."""

    def __init__(self, min_score: int, *, composition: bool) -> None:
        """Ask for an estimate of `min_score`, 0 to 4, and for three kinds of characters or 15 characters."""
        self._min_score, self._composition = min_score, composition
        self._room = MAX_WAITING
        # One alone: zxcvbn is plain Python, so two would share one core, and it keeps the user's names in a global.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zxcvbn")

    def form(self, password: str) -> list[ApiError]:
        """Return what is wrong with the kinds of a password's characters, or with their number: validation_error."""
        kinds = (str.islower, str.isupper, str.isdigit)
        if not self._composition and len(password) < MIN_UNCOMPOSED:
            words = f"a password has at least {MIN_UNCOMPOSED} characters"
            return [_invalid("password_too_short", words, min_length=MIN_UNCOMPOSED)]
        if self._composition and not all(any(map(kind, password)) for kind in kinds):
            words = "a password has a lower-case letter, an upper-case letter and a digit"
            return [_invalid("password_composition", words)]
        return []

    async def guessable(self, password: str, username: str, email: str) -> list[ApiError]:
        """Return why a new password of the user with these names is too easily guessed.

        The codes are those of `guessable`, and password_too_weak.

        Raises:
            ApiError: overloaded, when too many wait already.
        """
        found = guessable(password, username, email)
        if not self._min_score:
            return found
        if not self._room:
            raise ApiError(ErrorCode.OVERLOADED)
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            return found + await loop.run_in_executor(self._thread, self._weak, password, username, email)
        finally:
            self._room += 1

    async def require(self, password: str, username: str, email: str) -> None:
        """Check a new password of the user with these names.

        Raises:
            ApiError: What `form` and `guessable` return; overloaded.
        """
        refuse(self.form(password) + await self.guessable(password, username, email))

    def close(self) -> None:
        """End the thread once it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _weak(self, password: str, username: str, email: str) -> list[ApiError]:
        known = password.encode()[:MAX_PASSWORD_BYTES].decode(errors="ignore")
        found = _zxcvbn().zxcvbn(known, [username, email, email.partition("@")[0], SERVICE])
        if found["score"] >= self._min_score:
            return []
        feedback = found["feedback"]
        hints = [hint for hint in (feedback["warning"], *feedback["suggestions"]) if hint]
        return [ApiError(ErrorCode.PASSWORD_TOO_WEAK, " ".join([f"{ErrorCode.PASSWORD_TOO_WEAK.words}.", *hints]))]


def guessable(password: str, username: str, email: str) -> list[ApiError]:
    """Return whether a password is common, or holds the user's own names (NIST SP 800-63B-4 section 3.1.1.2).

    The codes are password_too_common, password_contains_username and password_contains_email.
    """
    folded, local_part = password.casefold(), canonical(email).partition("@")[0]
    found = {
        ErrorCode.PASSWORD_TOO_COMMON: is_common(password),
        ErrorCode.PASSWORD_CONTAINS_USERNAME: canonical(username) in folded,
        ErrorCode.PASSWORD_CONTAINS_EMAIL: len(local_part) >= MIN_LOCAL_PART and local_part in folded,
    }
    return [ApiError(code) for code, holds in found.items() if holds]


def is_common(password: str) -> bool:
    """Tell whether a password is one of the commonest, whatever the case of its letters."""
    return password.casefold() in _common_passwords()


def _invalid(rule: str, words: str, **limits: int) -> ApiError:
    return ApiError(ErrorCode.VALIDATION_ERROR, words, loc=("body", "password"), rule=rule, limits=limits)


@cache
def _common_passwords() -> frozenset[str]:
    """Return those of zxcvbn's ranked list that are long enough; it is all lower case, and takes 0.1 s to load."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - not before it is needed

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_PASSWORD)


@cache
def _zxcvbn() -> ModuleType:
    """Return zxcvbn, made to answer in time whatever the password; its lists take 10 MB and 0.1 s to load."""
    import zxcvbn  # noqa: PLC0415 - not before it is needed
    from zxcvbn.matching import L33T_TABLE  # noqa: PLC0415 - as above

    L33T_TABLE.update(_PLAINLY)
    return zxcvbn
