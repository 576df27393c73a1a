"""Who the users of the tests are: their passwords, and how they show who they are."""

PASSWORD = "Correct-Horse-7"
NEW_PASSWORD = "Other-Saddle-8"
WRONG_PASSWORD = "Wrong-Horse-7"
ADMIN_PASSWORD = "Right-Battery-9"
MISSING = 2**31 - 1  # the greatest id there may be, which no row has


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
