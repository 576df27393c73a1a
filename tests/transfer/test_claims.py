"""Addresses that are only claimed go out and come in as such."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.accounts.conftest import Accounts
from tests.support.commands import command
from tests.support.transfer import assert_comes_in_again
from tests.support.users import stored

ADDRESS = "same@example.com"


@pytest.fixture
def claimed(on: Accounts) -> Accounts:
    """A service where two claim an address that nobody holds, and one holds its own."""
    for name in ("alice", "bob"):
        assert on.register(name, ADDRESS).status_code == 201
    on.verified("carol")
    return on


def take(accounts: Accounts, *rows: dict[str, Any], update: bool = False) -> str:
    """What an import of these rows says."""
    text = "\n".join(json.dumps(row) for row in rows)
    done = command("import", "-", *(["--update"] if update else []), stdin=text, url=accounts.api.server.url)
    return done.stdout + done.stderr


def exported(accounts: Accounts) -> list[dict[str, Any]]:
    done = command("export", "-", "--with-hashes", url=accounts.api.server.url)
    return [json.loads(line) for line in done.stdout.splitlines()]


def key(accounts: Accounts, name: str) -> str:
    """The key of a user's address: a claim's has the username behind it."""
    found: str = accounts.api.sql("SELECT email_key FROM users WHERE username = :name", name=name)[0][0]
    return found


class TestClaims:
    @pytest.mark.parametrize("name", ["users.csv", "users.jsonl"])
    def test_come_into_an_empty_database_as_they_were(
        self, claimed: Accounts, kind: str, tmp_path: Path, name: str
    ) -> None:
        first = tmp_path / name
        assert_comes_in_again(claimed.api.server.url, kind, first)
        if name.endswith("csv"):
            told = {row["username"]: row["email_claimed"] for row in csv.DictReader(first.read_text().splitlines())}
            assert told == {"admin": "false", "alice": "true", "bob": "true", "carol": "false"}

    @pytest.mark.parametrize("update", [True, False])
    @pytest.mark.parametrize("told", [True, False])
    def test_that_are_there_already_are_left_alone(self, claimed: Accounts, told: bool, update: bool) -> None:
        """Even if the rows do not tell them from others."""
        rows = exported(claimed)
        if not told:
            for row in rows:
                del row["email_claimed"]
        before = stored(claimed.api)
        assert take(claimed, *rows, update=update) == "Users: 0 new, 0 changed, 4 there already, 0 refused\n"
        assert stored(claimed.api) == before

    @pytest.mark.parametrize(
        ("row", "after"),
        [
            ({"email": ADDRESS, "age": 9}, f"{ADDRESS} alice"),
            ({"email": "other@example.com"}, "other@example.com alice"),
            ({"email": "carol@example.com"}, "carol@example.com alice"),
            ({"email": ADDRESS, "email_claimed": True, "age": 9}, f"{ADDRESS} alice"),
            ({"email": ADDRESS, "email_claimed": False}, ADDRESS),
        ],
    )
    def test_stay_so_with_an_update_that_does_not_say_otherwise(
        self, claimed: Accounts, row: dict[str, Any], after: str
    ) -> None:
        told = take(claimed, {"username": "alice"} | row, update=True)
        assert told == "Users: 0 new, 1 changed, 0 there already, 0 refused\n"
        assert key(claimed, "alice") == after
        assert key(claimed, "bob") == f"{ADDRESS} bob"

    def test_of_who_is_renamed_are_of_the_new_name(self, claimed: Accounts) -> None:
        [alice] = [row["id"] for row in exported(claimed) if row["username"] == "alice"]
        assert "1 changed" in take(claimed, {"id": alice, "username": "anna"}, update=True)
        assert key(claimed, "anna") == f"{ADDRESS} anna"
        assert claimed.register("alice", ADDRESS).status_code == 201

    def test_a_holder_may_become_one(self, claimed: Accounts) -> None:
        row = {"username": "carol", "email": "carol@example.com", "email_claimed": True}
        assert "1 changed" in take(claimed, row, update=True)
        assert key(claimed, "carol") == "carol@example.com carol"

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"email": "carol@example.com", "email_claimed": False}, "Email already registered"),
            ({"email_claimed": False}, "email_claimed: is told with the username and the address"),
        ],
    )
    def test_cannot_become_what_another_holds(self, claimed: Accounts, row: dict[str, Any], reason: str) -> None:
        before = stored(claimed.api)
        assert f"line 1: {reason}" in take(claimed, {"username": "alice"} | row, update=True)
        assert stored(claimed.api) == before

    def test_none_is_made_unless_the_row_says_so(self, claimed: Accounts) -> None:
        rows = [{"username": name, "email": ADDRESS, "hashed_password": "!"} for name in ("dora", "eve")]
        assert "email: is that of line 1, too" in take(claimed, *rows)
        assert "1 new" in take(claimed, rows[0])
        assert key(claimed, "dora") == ADDRESS
        assert "Email already registered" in take(claimed, rows[1])
        assert "1 new" in take(claimed, rows[1] | {"email_claimed": True})
        assert key(claimed, "eve") == f"{ADDRESS} eve"
