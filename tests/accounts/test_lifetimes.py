"""What came by mail is good for as long as is promised, to the minute."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.accounts.conftest import Accounts
from tests.accounts.test_invitation import invite
from tests.accounts.test_verification import change
from tests.support.answers import assert_refused
from tests.support.insides import OneTimeCode
from tests.support.people import NEW_PASSWORD

MINUTE = timedelta(minutes=1)
LIFETIMES = {
    "reset": timedelta(minutes=30),
    "verify": timedelta(hours=24),
    "invitation": timedelta(days=7),
    "undo": timedelta(days=7),
}
PATHS = {
    "reset": "/password/reset",
    "verify": "/email/verify",
    "invitation": "/invitation/accept",
    "undo": "/email/undo",
}


def sent(accounts: Accounts, name: str, page: str) -> str:
    """The token of a mail whose link leads to this page."""
    address = f"{name}@example.com"
    if page == "invitation":
        invite(accounts, name)
    elif page == "verify":
        accounts.register(name)
    else:
        accounts.verified(name)
        if page == "undo":
            change(accounts, accounts.api.log_in(name), f"new{name}@example.com")
        else:
            accounts.post("/password/forgot", login=name)
    return accounts.token(address, page)


def let_pass(accounts: Accounts, time: timedelta) -> None:
    """Make all codes older."""
    with accounts.api.server.engine.begin() as connection:
        for row in connection.execute(sa.select(OneTimeCode)).all():
            times = {"created_at": row.created_at - time, "expires_at": row.expires_at - time}
            connection.execute(sa.update(OneTimeCode).where(sa.inspect(OneTimeCode).c.id == row.id).values(times))


@pytest.mark.parametrize("page", LIFETIMES)
def test_link_is_good_until_its_time_is_over(on: Accounts, name: str, page: str) -> None:
    password = {"new_password": NEW_PASSWORD} if page in {"reset", "invitation"} else {}
    for age, other in ((-MINUTE, f"a{name}"), (MINUTE, f"b{name}")):
        token = sent(on, other, page)
        let_pass(on, LIFETIMES[page] + age)
        answer = on.post(PATHS[page], token=token, **password)
        if age < MINUTE:
            assert answer.status_code == 204, answer.text
        else:
            assert_refused(answer, "invalid_code")
