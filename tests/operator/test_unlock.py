"""The operator unlocks who is locked out, of running services that share no storage."""

from tests.support.client import Api
from tests.support.commands import command
from tests.support.people import ADMIN_PASSWORD, WRONG_PASSWORD
from tests.support.throttle import assert_locked, log_in, throttled

HOME = "2001:db8:7::1"


def send_from(api: Api, address: str) -> None:
    api.http.headers["X-Forwarded-For"] = address


class TestUnlock:
    """S30: through the database, without Redis."""

    def test_lets_a_user_in_and_forgives_its_guesses(self, url: str) -> None:
        """S30: what is counted after it counts."""
        with throttled(url, FORWARDED_ALLOW_IPS="127.0.0.1") as api:
            alice = api.new_actor("alice")
            send_from(api, HOME)
            change = {"password": "Other-Saddle-8", "current_password": WRONG_PASSWORD}
            for _ in range(10):
                alice.patch("/users/me", json=change)
            for login in ("alice", "alice@example.com"):
                for _ in range(5):
                    log_in(api, login, WRONG_PASSWORD)
                assert_locked(log_in(api, login))
                done = command("unlock", login, url=url)
                assert (done.returncode, done.stdout) == (0, f"{login} may log in again\n"), done.stderr
                assert log_in(api, "alice").status_code == 200
                send_from(api, f"192.0.2.{len(login)}")
            assert alice.patch("/users/me", json=change).status_code == 400  # and not 429
            for _ in range(5):
                log_in(api, "alice", WRONG_PASSWORD)
            send_from(api, "192.0.2.99")
            assert_locked(log_in(api, "alice"))

    def test_lets_an_address_in(self, url: str) -> None:
        """S29, S30: an IPv6 household as a whole."""
        with throttled(url, BCRYPT_ROUNDS="4", FORWARDED_ALLOW_IPS="127.0.0.1") as api:
            send_from(api, HOME)
            for number in range(100):
                log_in(api, f"user{number}", WRONG_PASSWORD)
            assert_locked(log_in(api, "admin", ADMIN_PASSWORD), 900)
            done = command("unlock", "--address", "2001:db8:7::2", url=url)
            assert done.returncode == 0, done.stderr
            assert log_in(api, "admin", ADMIN_PASSWORD).status_code == 200
