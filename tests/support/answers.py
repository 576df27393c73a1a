"""What answers must look like."""

import httpx2 as httpx

# The words of each refusal, as clients read them.
REFUSALS = {
    "not_authenticated": (401, "Not authenticated"),
    "invalid_token": (401, "Could not validate credentials"),
    "token_expired": (401, "The access token has expired"),
    "session_ended": (401, "The login session has ended"),
    "invalid_client": (401, "Unknown client or wrong client secret"),
    "invalid_credentials": (401, "Incorrect username or password"),
    "not_enough_permissions": (403, "Not enough permissions"),
    "recent_login_required": (403, "Log in again to do this"),
    "user_not_found": (404, "User not found"),
    "username_taken": (400, "Username already registered"),
    "email_taken": (400, "Email already registered"),
    "current_password_required": (400, "Current password required"),
    "current_password_incorrect": (400, "Current password incorrect"),
    "email_not_verified": (400, "The e-mail address must be verified first"),
    "invalid_code": (400, "The link or the code is wrong, was used or has expired"),
    "invitation_not_found": (404, "The user has no open invitation"),
    "last_admin": (400, "At least one active admin must remain"),
    "session_not_found": (404, "Session not found"),
    "precondition_failed": (412, "The user has changed meanwhile"),
    "invalid_grant": (400, "The refresh token is invalid or expired"),
    "unsupported_grant_type": (400, "The grant type is neither password nor refresh_token"),
    "invalid_request": (400, "The parameter token is missing"),
    "too_many_attempts": (429, "Too many failed attempts, try again later"),
    "too_many_registrations": (429, "Too many registrations, try again later"),
    "not_found": (404, "Not Found"),
}


def assert_refused(answer: httpx.Response, code: str) -> None:
    """Check that an answer is this refusal, in words and in code."""
    body = answer.json()
    assert (answer.status_code, body["detail"], body["code"]) == (*REFUSALS[code], code), answer.text


def assert_invalid(answer: httpx.Response, *fields: str) -> None:
    """Check that an answer is a 422 in the common shape that names these fields and repeats no value."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "validation_error"), answer.text
    assert all(item.keys() - {"ctx"} == {"loc", "msg", "type"} for item in body["detail"]), answer.text
    assert {item["loc"][1] for item in body["detail"] if len(item["loc"]) > 1} == set(fields), answer.text
