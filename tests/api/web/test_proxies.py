"""Whose word about a client's address is believed, and what is said about it."""

from tests.support.databases import ON_SQLITE
from tests.support.processes import wait_until
from tests.support.servers import serving


@ON_SQLITE
class TestProxies:
    """S29."""

    def test_untrusted_forwarded_header_is_warned_of_once(self, url: str) -> None:
        """S29."""
        with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1", FORWARDED_ALLOW_IPS="192.0.2.1") as server:
            with server.client() as http:
                for number in range(3):
                    assert http.get("/health/live", headers={"X-Forwarded-For": f"192.0.2.{number}"}).is_success
            wait_until(lambda: server.text.count("/health/live") >= 3)
            (line,) = (line for line in server.output if "X-Forwarded-For" in line)
            assert " WARNING " in line
            assert "127.0.0.1" in line
            assert "FORWARDED_ALLOW_IPS" in line

    def test_trusted_one_is_believed_in_silence(self, url: str) -> None:
        """S29: and that everybody is trusted is warned of at the start."""
        with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1", FORWARDED_ALLOW_IPS="*") as server:
            with server.client() as http:
                assert http.get("/health/live", headers={"X-Forwarded-For": "192.0.2.7"}).is_success
            assert "is not believed" not in server.text
            assert server.text.count("warning: FORWARDED_ALLOW_IPS=*") == 1

    def test_no_warning_without_cause(self, url: str) -> None:
        with serving(url, FIRST_ADMIN_PASSWORD="Not-Used-1") as server:
            with server.client() as http:
                assert http.get("/health/ready").is_success
            wait_until(lambda: "/health/ready" in server.text)
            assert "FORWARDED_ALLOW_IPS" not in server.text
