"""Which passwords are too easily guessed."""

from functools import cache

from userapi.errors import ApiError, ErrorCode
from userapi.models import MIN_PASSWORD, canonical

MIN_LOCAL_PART = 4  # characters of an e-mail address before the @ that a password may not contain


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


def _refused(code: ErrorCode) -> ApiError:
    return ApiError(code, loc=("body", "password"))


@cache
def _common_passwords() -> frozenset[str]:
    """Return those of zxcvbn's ranked list that are long enough; it is all lower case, and takes 0.1 s to load."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - not before it is needed

    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_PASSWORD)
