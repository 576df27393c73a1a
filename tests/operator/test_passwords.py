"""The operator's commands refuse the passwords that the API refuses."""

import pytest

from tests.support.client import Api
from tests.support.commands import command
from tests.support.databases import ON_SQLITE
from tests.support.people import PASSWORD
from tests.support.processes import refused_to_start

GUESSABLE = pytest.mark.parametrize(
    ("password", "words"),
    [
        ("Password123", "one of the commonest"),
        ("Xx-Carol-77", "contains the username"),
        ("Xx-Caroline-77", "contains the username"),
        ("Xx-Cat.Walk-77", "contains the e-mail address"),
        ("P@ssword1", "substitutions like '@'"),
        ("Welcome2025!", "too easily guessed"),
        ("correct-horse-7", "an upper-case letter"),
        ("short-9", "8 characters"),
        ("Zk4mWq7" + "x" * 66, "72"),
    ],
)


class TestOperator:
    """The commands know the same rules."""

    @ON_SQLITE
    @GUESSABLE
    def test_create_admin(self, api: Api, password: str, words: str) -> None:
        options = ["--username", "carol", "--email", "cat.walk@example.com", "--password-stdin"]
        done = command("create-admin", *options, url=api.server.url, stdin=password + "\n")
        assert words in refused_to_start(done)
        assert password not in done.stderr
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    @ON_SQLITE
    @GUESSABLE
    def test_set_password(self, api: Api, password: str, words: str) -> None:
        api.new_user("carol", email="cat.walk@example.com")
        done = command("set-password", "carol", "--password-stdin", url=api.server.url, stdin=password + "\n")
        assert words in refused_to_start(done)
        assert password not in done.stderr
        api.token("carol", PASSWORD)

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("password", "words"),
        [
            ("Password123", "one of the commonest"),
            ("Xx-admin-77", "contains the username"),
            ("Userapi2026", "too easily guessed"),
            ("correct-horse-7", "an upper-case letter"),
            ("short-9", "8 characters"),
        ],
    )
    def test_first_admin(self, empty_url: str, password: str, words: str) -> None:
        done = command("serve", url=empty_url, FIRST_ADMIN_PASSWORD=password)
        assert words in refused_to_start(done)
        assert password not in done.stderr
