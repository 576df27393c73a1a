"""Very many logins at once."""

from contextlib import closing

import pytest

from tests.support.client import Api
from tests.support.crowd import Call, Watch, at_once
from tests.support.people import PASSWORD
from tests.support.servers import serving

pytestmark = pytest.mark.alone


class TestLoginFlood:
    """R9."""

    def test_reads_go_on_during_many_logins(self, url: str) -> None:
        """R9."""
        with serving(url, BCRYPT_ROUNDS="12", FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            api = Api(server)
            with closing(api):
                names = [api.new_user(f"user{number}")["username"] for number in range(6)]
                logins = [Call("POST", "/token", form={"username": name, "password": PASSWORD}) for name in names] * 5
                watches = [Watch(server, path, api.admin.token) for path in ("/users/me", "/users", "/health/ready")]
                with watches[0], watches[1], watches[2]:
                    replies = at_once(server, logins)
                assert [reply.status for reply in replies] == [200] * 30, replies
                for watch in watches:
                    watch.assert_answered_within(1)
                    assert len(watch.seconds) > 50
