"""New passwords are estimated: those that somebody would try early are refused."""

import asyncio
from typing import Any

import pytest

from tests.support.answers import assert_invalid
from tests.support.client import Api, client_of
from tests.support.commands import command
from tests.support.crowd import Call, Watch, at_once
from tests.support.databases import ON_SQLITE
from tests.support.insides import ApiError, Strength
from tests.support.passwords import ALICE, WAYS, assert_guessable, set_password
from tests.support.people import ADMIN_PASSWORD, PASSWORD
from tests.support.processes import refused_to_start
from tests.support.servers import Shared

# Letters may be read into it in hundreds of ways; zxcvbn would try them all, for 6 s.
ODD = ("4@8({[<36119!|0$5+7%2" * 4)[:70] + "aB"


@pytest.fixture
def api(open_api: Api) -> Api:
    """A service where anybody may register."""
    return open_api


def strong(password: str, username: str = "alice", min_score: int = 3) -> bool:
    try:
        asyncio.run(Strength(min_score, composition=True).require(password, username, "carol@example.com"))
    except ApiError:
        return False
    return True


class TestEstimate:
    """S36."""

    @ON_SQLITE
    @pytest.mark.parametrize("password", ["Password1!", "P@ssword1", "Welcome2025!", "Userapi2026", "Zk4mWq7x"])
    def test_guessable_ones_are_refused_with_advice(self, api: Api, password: str) -> None:
        """S36."""
        answer = set_password(api, "create", password)
        assert_guessable(answer, "password_too_weak", password)
        assert "Add another word or two." in answer.json()["detail"][0]["msg"]
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    @pytest.mark.parametrize("way", WAYS)
    def test_are_refused_wherever_one_is_set(self, api: Api, way: str) -> None:
        """S36."""
        assert_guessable(set_password(api, way, "Welcome2025!"), "password_too_weak", "Welcome2025!")
        if way not in {"create", "register"}:
            api.token("alice", PASSWORD)

    @ON_SQLITE
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("password", ["Z3br4f1nch-26", "Hcnifarbez-26"])
    def test_own_names_in_disguise_count(self, api: Api, way: str, password: str) -> None:
        """S36."""
        names = {"username": "zebrafinch"}
        assert_guessable(set_password(api, way, password, **names), "password_too_weak", password)
        api.sql("DELETE FROM login_sessions WHERE user_id IN (SELECT id FROM users WHERE username = 'zebrafinch')")
        api.sql("DELETE FROM users WHERE username = 'zebrafinch'")
        assert set_password(api, way, password).status_code in {200, 201}

    @ON_SQLITE
    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_names_that_come_with_the_change_count(self, api: Api, method: str) -> None:
        alice = api.new_actor(**ALICE)
        body = {"username": "zebrafinch", "password": "Z3br4f1nch-26"}
        answer = api.admin.request(method, alice.path, json=body)
        assert_guessable(answer, "password_too_weak", "Z3br4f1nch-26")
        missing = api.admin.request(method, "/users/2147483647", json={"password": PASSWORD})
        assert missing.json()["code"] == "user_not_found"

    def test_scores_are_ordered(self) -> None:
        """Of 0 any will do; each higher one refuses more."""
        graded = ["Password1", "Welcome2025!", "Zk4m-Wq7x", PASSWORD]
        for min_score, passing in ((1, 3), (2, 3), (3, 2), (4, 1)):
            assert sum(strong(password, min_score=min_score) for password in graded) == passing
        assert strong("Zk4mWq7x", min_score=0)


class TestTime:
    """S36: an estimate takes no time from others."""

    def test_others_go_on_meanwhile(self) -> None:
        """S36: it runs beside the event loop."""

        async def ticks() -> int:
            strength = Strength(3, composition=True)
            await strength.require(PASSWORD, "alice", "carol@example.com")  # the lists are loaded
            count, work = 0, asyncio.create_task(strength.require(ODD, "alice", "carol@example.com"))
            while not work.done():
                await asyncio.sleep(0)
                count += 1
            await work
            return count

        assert asyncio.run(ticks()) > 2

    @ON_SQLITE
    def test_odd_passwords_take_no_longer_than_their_hash(self, api: Api) -> None:
        """S36: bounded, whatever the password."""
        calls = [
            Call("POST", "/register", json={"username": f"odd{n}", "email": f"o{n}@example.com", "password": ODD})
            for n in range(8)
        ]
        with Watch(api.server) as watch:
            assert {reply.status for reply in at_once(api.server, calls)} == {201}
        watch.assert_answered_within(4)

    def test_too_many_at_once_are_refused(self) -> None:
        async def refused() -> set[Any]:
            strength = Strength(3, composition=True)
            waiting = (strength.require(PASSWORD, "alice", "carol@example.com") for _ in range(100))
            errors = await asyncio.gather(*waiting, return_exceptions=True)
            return {error.code.value if isinstance(error, ApiError) else error for error in errors}

        assert asyncio.run(refused()) == {None, "overloaded"}

    def test_names_of_others_do_not_count(self) -> None:
        """Those that are estimated at the same time are kept apart."""

        async def verdicts() -> list[bool]:
            strength = Strength(3, composition=True)
            names = ["zebrafinch", "alice"] * 20
            work = (strength.require("Z3br4f1nch-26", name, "carol@example.com") for name in names)
            return [error is None for error in await asyncio.gather(*work, return_exceptions=True)]

        assert asyncio.run(verdicts()) == [False, True] * 20


class TestComposition:
    """The kinds of characters that the tutorial asks for; or length in their place."""

    @ON_SQLITE
    @pytest.mark.parametrize("password", ["zk4m-wq7xy", "ZK4M-WQ7XY", "Zkam-Wqsxy"])
    def test_is_asked_for_unless_the_operator_says_otherwise(self, api: Api, password: str) -> None:
        answer = set_password(api, "create", password)
        assert_invalid(answer, "password")
        [violation] = answer.json()["detail"]
        words = "a password has a lower-case letter, an upper-case letter and a digit"
        assert violation == {"loc": ["body", "password"], "msg": words, "type": "password_composition"}

    @ON_SQLITE
    def test_switched_off_length_takes_its_place(self, shared: Shared, kind: str) -> None:
        settings = {
            "PASSWORD_COMPOSITION": "false",
            "FIRST_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "REGISTRATION_ENABLED": "true",
        }
        with client_of(shared.service(kind, **settings)) as api:
            for way in WAYS:
                short = set_password(api, way, "Zk4m-Wq7x-Px7y")
                assert_invalid(short, "password")
                [violation] = short.json()["detail"]
                assert "15 characters" in violation["msg"]
                assert (violation["type"], violation["ctx"]) == ("password_too_short", {"min_length": 15})
                api.sql("DELETE FROM login_sessions WHERE user_id IN (SELECT id FROM users WHERE username = 'alice')")
                api.sql("DELETE FROM users WHERE username = 'alice'")
            assert set_password(api, "create", "mellow anchovy pilot").status_code == 201
            assert_guessable(set_password(api, "create", "a" * 20, username="bob"), "password_too_weak", "a" * 20)

    @ON_SQLITE
    def test_holds_for_the_operator_too(self, api: Api) -> None:
        for password, status in (("Zk4m-Wq7x-Px7y", 1), ("mellow anchovy pilot", 0)):
            args = ["create-admin", "--username", "boss", "--email", "boss@example.com", "--password-stdin"]
            done = command(*args, url=api.server.url, stdin=password, PASSWORD_COMPOSITION="false")
            assert done.returncode == status
            if status:
                assert "15 characters" in refused_to_start(done)

    @ON_SQLITE
    def test_score_is_a_setting(self, shared: Shared, kind: str) -> None:
        with client_of(shared.service(kind, PASSWORD_MIN_SCORE="0", REGISTRATION_ENABLED="true")) as api:
            assert set_password(api, "create", "Welcome2025!").status_code == 201
            assert_guessable(set_password(api, "register", "Password1"), "password_too_common", "Password1")

    @pytest.mark.parametrize("score", ["-1", "5", "high"])
    def test_odd_score_is_refused(self, score: str) -> None:
        done = command("serve", url="sqlite://", PASSWORD_MIN_SCORE=score, FIRST_ADMIN_PASSWORD=ADMIN_PASSWORD)
        assert refused_to_start(done).startswith("PASSWORD_MIN_SCORE: ")
