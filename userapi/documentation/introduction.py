"""What the OpenAPI document says before its operations."""

from userapi.errors import ErrorCode

_TEXT = """\
Accounts of users: people look after their own, admins after all of them.

## Log in

`POST /token` takes a form with `username` and `password` and answers an access token, good for `expires_in` seconds,
and a refresh token. Send the access token with every request: `Authorization: Bearer ...`. Before it expires, or when
an answer is 401 `invalid_token`, send `grant_type=refresh_token` and the refresh token to `POST /token`; the answer
brings a new one of both. `POST /revoke` logs out. The password grant is for applications of whoever runs this
service, not for those of others (RFC 9700 section 2.4).

## Errors

Every error is JSON with a `detail` for people and a `code` for programs; the code alone says what else is there.
Under 422 `validation_error` the `detail` is a list of what is wrong where: `type` names the broken rule and `ctx` its
limits. Other errors of a form name its `field`, and `errors` lists everything that is wrong with the fields, so that
a form can show it all at once. After 429 and 503 wait as many seconds as `Retry-After` says. The answers of `/token`
and `/revoke` also have OAuth's `error` and `error_description` (RFC 6749 section 5.2). `X-Request-ID` finds an answer
in the log.

| code | status | meaning |
|---|---|---|
{codes}

## Lists

The header `Link` (RFC 8288) leads to the pages around: follow its `next` until there is none, and resolve it against
the address of the request. Filters and order stay as they were asked for.

## Safe updates

A user in an answer comes with an `ETag`, its version; in a list each has it as `version`. Send it back as `If-Match`
(in quotes: `If-Match: "7"`) with `PUT`, `PATCH` or `DELETE`: if somebody else has changed the user since, the answer
is 412 `precondition_failed` and nothing happens. Read it again, and decide anew.
"""


def introduction() -> str:
    """Return the text, in Markdown, with a table of all errors."""
    rows = (f"| `{code}` | {code.status} | {code.words} |" for code in sorted(ErrorCode, key=lambda code: code.status))
    return _TEXT.format(codes="\n".join(rows))
