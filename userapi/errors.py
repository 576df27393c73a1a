"""What can go wrong: one table of codes for clients, and the errors that rules raise."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

RETRY_SECONDS = 5  # after which a client may try again, where nothing better is known


class ErrorCode(StrEnum):
    """What went wrong, for programs; the words are for people and may change."""

    status: int
    words: str
    field: str | None  # of the body, if it lies in one

    def __new__(cls, code: str, status: int, words: str, field: str | None = None) -> Self:
        """Return a member whose value is the code, with its HTTP status, its words and its field."""
        member = str.__new__(cls, code)
        member._value_, member.status, member.words, member.field = code, status, words, field
        return member

    VALIDATION_ERROR = "validation_error", 422, "Validation failed"
    PASSWORD_TOO_COMMON = "password_too_common", 422, "The password is one of the commonest", "password"
    PASSWORD_CONTAINS_USERNAME = "password_contains_username", 422, "The password contains the username", "password"
    PASSWORD_CONTAINS_EMAIL = "password_contains_email", 422, "The password contains the e-mail address", "password"
    PASSWORD_TOO_WEAK = "password_too_weak", 422, "The password is too easily guessed", "password"
    NOT_AUTHENTICATED = "not_authenticated", 401, "Not authenticated"
    INVALID_TOKEN = "invalid_token", 401, "Could not validate credentials"
    TOKEN_EXPIRED = "token_expired", 401, "The access token has expired"
    SESSION_ENDED = "session_ended", 401, "The login session has ended"
    INVALID_CREDENTIALS = "invalid_credentials", 401, "Incorrect username or password"
    INVALID_GRANT = "invalid_grant", 400, "The refresh token is invalid or expired"
    INVALID_CLIENT = "invalid_client", 401, "Unknown client or wrong client secret"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type", 400, "The grant type is neither password nor refresh_token"
    INVALID_REQUEST = "invalid_request", 400, "The parameter token is missing"
    NOT_ENOUGH_PERMISSIONS = "not_enough_permissions", 403, "Not enough permissions"
    RECENT_LOGIN_REQUIRED = "recent_login_required", 403, "Log in again to do this"
    USER_NOT_FOUND = "user_not_found", 404, "User not found"
    SESSION_NOT_FOUND = "session_not_found", 404, "Session not found"
    USERNAME_TAKEN = "username_taken", 400, "Username already registered", "username"
    EMAIL_TAKEN = "email_taken", 400, "Email already registered", "email"
    CURRENT_PASSWORD_REQUIRED = "current_password_required", 400, "Current password required", "current_password"
    CURRENT_PASSWORD_INCORRECT = "current_password_incorrect", 400, "Current password incorrect", "current_password"
    EMAIL_NOT_VERIFIED = "email_not_verified", 400, "The e-mail address must be verified first"
    INVALID_CODE = "invalid_code", 400, "The link or the code is wrong, was used or has expired"
    INVITATION_NOT_FOUND = "invitation_not_found", 404, "The user has no open invitation"
    LAST_ADMIN = "last_admin", 400, "At least one active admin must remain"
    CROSS_SITE_REFUSED = "cross_site_refused", 403, "Another site's page may not ask for this"
    PRECONDITION_FAILED = "precondition_failed", 412, "The user has changed meanwhile"
    TOO_MANY_ATTEMPTS = "too_many_attempts", 429, "Too many failed attempts, try again later"
    TOO_MANY_REGISTRATIONS = "too_many_registrations", 429, "Too many registrations, try again later"
    OVERLOADED = "overloaded", 503, "Too many logins at once, try again"
    DATABASE_UNAVAILABLE = "database_unavailable", 503, "The database is unavailable, try again"
    NOT_READY = "not_ready", 503, "Not ready"
    BAD_REQUEST = "bad_request", 400, "Bad request"
    NOT_FOUND = "not_found", 404, "Not Found"
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "Method Not Allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large", 413, "Content Too Large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "The body's media type is not supported"
    INTERNAL_ERROR = "internal_error", 500, "Internal server error"


class ApiError(Exception):
    """An error that a client is told: its code, and where in the request it lies."""

    def __init__(
        self,
        code: ErrorCode,
        words: str | None = None,
        *,
        loc: tuple[str, ...] = (),
        rule: str | None = None,
        limits: Mapping[str, int] | None = None,
        retry_after: int = RETRY_SECONDS,
        max_age: int = 0,
    ) -> None:
        """Raise `code` with its own words or `words`.

        `loc` names the offending part of the request, as ("body", "password"), if it is not the code's field; where
        the code is validation_error, `rule` names the broken rule and `limits` its bounds. `retry_after` is in seconds
        and told with 429 and 503, `max_age`, how old a login may be, with `recent_login_required`.
        """
        super().__init__(words or code.words)
        self.code, self.rule, self.limits = code, rule or code.value, limits or {}
        self.loc = loc or (("body", code.field) if code.field else ())
        self.retry_after, self.max_age = retry_after, max_age
        self.others: Sequence[ApiError] = ()  # told by the same answer


def refuse(errors: Sequence[ApiError]) -> None:
    """Raise the first of these errors, if there is any; its answer tells the others, too."""
    if errors:
        errors[0].others = errors[1:]
        raise errors[0]


class DatabaseUnavailable(ApiError):
    """The database did not answer in time; the request may be repeated (RFC 9110 section 15.6.4)."""

    def __init__(self) -> None:
        """Raise it without further words: what happened is for the log."""
        super().__init__(ErrorCode.DATABASE_UNAVAILABLE)


class Refusal(Exception):
    """The service cannot start, or a command cannot run; the message is one sentence for the operator."""
