"""A service whose users may claim addresses that they have not verified."""

from tests.accounts.conftest import accounts_of, on
from tests.mail.conftest import postbox

__all__ = ["accounts_of", "on", "postbox"]
