"""How long a refused login takes for whoever came with another system's hash."""

import json

import pytest

from tests.long.test_login_time import TestTime as Times
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.hashes import HASHES
from tests.support.people import PASSWORD, WRONG_PASSWORD
from tests.support.servers import serving

pytestmark = pytest.mark.alone

ROUNDS = "8"  # of bcrypt; a check of the next takes about twice as long
DEAR = "pbkdf2_sha256$120000$salt$RJwiygL/L9yiIJtLAErDm90CKfOOVMU+H5nfLuxM7Q4="


class TestForeignHash:
    """S7, S33."""

    @ON_SQLITE
    def test_wrong_password_takes_the_time_of_nobody(self, url: str) -> None:
        """S7, S33: whether its hash is cheaper or dearer than those of bcrypt, once one was checked."""
        users = {"alice": HASHES["passlib-argon2id"], "bob": DEAR, "carol": DEAR}
        lines = [
            json.dumps(
                {
                    "username": name,
                    "email": f"{name}@example.com",
                    "hashed_password": hashed,
                    "is_active": name != "carol",
                }
            )
            for name, hashed in users.items()
        ]
        assert command("import", "-", stdin="\n".join(lines), url=url).returncode == 0
        with serving(url, BCRYPT_ROUNDS=ROUNDS, THROTTLE_ENABLED="false") as server, server.client() as http:
            http.post("/token", data={"username": "bob", "password": WRONG_PASSWORD})
            cases = [("nobody", PASSWORD), ("alice", WRONG_PASSWORD), ("bob", WRONG_PASSWORD), ("carol", PASSWORD)]
            Times().assert_alike(http, [*cases, ("bob", "Zk4m" * 30), ("nobody", "Zk4m" * 30)])
