"""Which passwords are too easily guessed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType

from userapi.errors import ApiError, ErrorCode
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

    def require_form(self, password: str) -> None:
        """Check of which characters a password is, or how many.

        Raises:
            ApiError: validation_error.
        """
        kinds = (str.islower, str.isupper, str.isdigit)
        if not self._composition and len(password) < MIN_UNCOMPOSED:
            raise _refused(ErrorCode.VALIDATION_ERROR, f"a password has at least {MIN_UNCOMPOSED} characters")
        if self._composition and not all(any(map(kind, password)) for kind in kinds):
            words = "a password has a lower-case letter, an upper-case letter and a digit"
            raise _refused(ErrorCode.VALIDATION_ERROR, words)

    async def require(self, password: str, username: str, email: str) -> None:
        """Check a new password of the user with these names.

        Raises:
            ApiError: validation_error, password_too_common, password_contains_username, password_contains_email,
                password_too_weak; overloaded, when too many wait already.
        """
        self.require_form(password)
        refuse_guessable(password, username, email)
        if not self._min_score:
            return
        if not self._room:
            raise ApiError(ErrorCode.OVERLOADED)
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._refuse_weak, password, username, email)
        finally:
            self._room += 1

    def close(self) -> None:
        """End the thread once it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refuse_weak(self, password: str, username: str, email: str) -> None:
        known = password.encode()[:MAX_PASSWORD_BYTES].decode(errors="ignore")
        found = _zxcvbn().zxcvbn(known, [username, email, email.partition("@")[0], SERVICE])
        if found["score"] < self._min_score:
            feedback = found["feedback"]
            hints = [hint for hint in (feedback["warning"], *feedback["suggestions"]) if hint]
            raise _refused(ErrorCode.PASSWORD_TOO_WEAK, " ".join([f"{ErrorCode.PASSWORD_TOO_WEAK.words}.", *hints]))


def refuse_guessable(password: str, username: str, email: str) -> None:
    """Refuse a password that is common, or that holds the user's own names (NIST SP 800-63B-4 section 3.1.1.2).

    Raises:
        ApiError: password_too_common, password_contains_username, password_contains_email.
    """
    folded, local_part = password.casefold(), canonical(email).partition("@")[0]
    if is_common(password):
        raise _refused(ErrorCode.PASSWORD_TOO_COMMON)
    if canonical(username) in folded:
        raise _refused(ErrorCode.PASSWORD_CONTAINS_USERNAME)
    if len(local_part) >= MIN_LOCAL_PART and local_part in folded:
        raise _refused(ErrorCode.PASSWORD_CONTAINS_EMAIL)


def is_common(password: str) -> bool:
    """Tell whether a password is one of the commonest, whatever the case of its letters."""
    return password.casefold() in _common_passwords()


def _refused(code: ErrorCode, words: str | None = None) -> ApiError:
    return ApiError(code, words, loc=("body", "password"))


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
