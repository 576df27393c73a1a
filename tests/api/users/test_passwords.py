"""Which passwords are refused, and how they are kept."""

import bcrypt
import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from tests.support.answers import assert_invalid, assert_refused
from tests.support.client import Api
from tests.support.databases import ON_SQLITE
from tests.support.insides import is_common
from tests.support.passwords import ALICE, WAYS, assert_guessable, set_password
from tests.support.people import PASSWORD
from tests.support.servers import serving

# Those of the ranked list that, with a capital letter, would fit the rule.
CANDIDATES = [
    word
    for word in FREQUENCY_LISTS["passwords"]
    if len(word) >= 8 and any(map(str.isdigit, word)) and sum(map(str.isalpha, word)) >= 2
]


def capital(word: str) -> str:
    """The word with its first letter, and only that, as a capital."""
    at = next(index for index, character in enumerate(word) if character.isalpha())
    return word[:at] + word[at].upper() + word[at + 1 :]


def big(word: str) -> str:
    """The word in capitals but for its last letter."""
    at = max(index for index, character in enumerate(word) if character.isalpha())
    return word[:at].upper() + word[at:]


@pytest.fixture
def api(open_api: Api) -> Api:
    """A service where anybody may register."""
    return open_api


class TestCommonest:
    def test_at_least_3000_that_could_pass_the_rule_are_known(self) -> None:
        assert len(CANDIDATES) >= 3000
        assert all(is_common(form) for word in CANDIDATES for form in (word, capital(word), big(word), word.upper()))

    @ON_SQLITE
    @pytest.mark.parametrize("password", ["Password1", "PASSWORd1", "Qwerty123", capital(CANDIDATES[2999])])
    def test_are_refused_in_any_letter_case(self, api: Api, password: str) -> None:
        assert_guessable(set_password(api, "create", password), "password_too_common", password)
        assert api.sql("SELECT count(*) FROM users") == [(1,)]

    @ON_SQLITE
    @pytest.mark.parametrize("way", WAYS)
    def test_are_refused_wherever_one_is_set(self, api: Api, way: str) -> None:
        answer = set_password(api, way, "Password123")
        assert_guessable(answer, "password_too_common", "Password123")
        if way not in {"create", "register"}:
            api.token("alice", PASSWORD)

    @ON_SQLITE
    @pytest.mark.parametrize("password", ["Password1-Horse", "Xq-1Password1-Elk", "Zk4m-Wq7x", PASSWORD])
    def test_are_whole_passwords_not_parts(self, api: Api, password: str) -> None:
        assert set_password(api, "create", password).status_code == 201

    @ON_SQLITE
    def test_are_told_only_of_a_password_that_fits_the_rule(self, api: Api) -> None:
        assert_invalid(set_password(api, "create", "password"), "password")


class TestOwnNames:
    @ON_SQLITE
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize(
        ("password", "code"),
        [
            ("Xx-alice-77", "password_contains_username"),
            ("ALICEx-77", "password_contains_username"),
            ("Zz-aLiCia.W-77", "password_contains_email"),
        ],
    )
    def test_in_any_letter_case_are_refused(self, api: Api, way: str, password: str, code: str) -> None:
        assert_guessable(set_password(api, way, password), code, password)

    @ON_SQLITE
    @pytest.mark.parametrize(
        ("names", "password", "refused"),
        [
            ({"username": "bob"}, "Xbobcat-77", "password_contains_username"),
            ({"username": "a_1"}, "XA_1bcat-77", "password_contains_username"),
            ({"email": "w.xyz@example.com"}, "Ww.xyzcat-77", "password_contains_email"),
            ({"email": "wxyz@example.com"}, "cat-WXYZ-77", "password_contains_email"),
            ({"email": "wxy@example.com"}, "cat-WXY-77", None),
            ({"email": "wxyz@example.com"}, "Example.com-77", None),
            ({"email": "wxyz@example.com"}, "cat-wxy-Z-77", None),
            ({"email": "straße@example.com"}, "Xx-STRASSE-77", "password_contains_email"),
            ({"username": "walter"}, "Xx-walte-r-77", None),
            ({"username": "bob", "email": "bobby@example.com"}, "Xx-bobby-77", "password_contains_username"),
        ],
    )
    def test_username_of_any_length_and_local_part_of_four(
        self, api: Api, names: dict[str, str], password: str, refused: str | None
    ) -> None:
        answer = set_password(api, "create", password, **names)
        if refused:
            assert_guessable(answer, refused, password)
        else:
            assert answer.status_code == 201

    @ON_SQLITE
    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_those_that_come_with_the_change_count(self, api: Api, method: str) -> None:
        alice = api.new_actor(**ALICE)
        for changes, code in (
            ({"username": "zebra"}, "password_contains_username"),
            ({"email": "zebra.w@example.com"}, "password_contains_email"),
        ):
            password = "Xx-Zebra.W-77"
            answer = api.admin.request(method, alice.path, json={**changes, "password": password})
            assert_guessable(answer, code, password)
        changes = {"username": "zebra", "email": "zebra.w@example.com"}
        answer = api.admin.request(method, alice.path, json={**changes, "password": "Xx-alice-77"})
        assert answer.status_code == 200  # nobody's name any more

    def test_refused_one_changes_nothing(self, api: Api) -> None:
        alice = api.new_actor(**ALICE)
        before = api.sql("SELECT * FROM users ORDER BY id")
        body = {"age": 9, "password": "Xx-alice-77", "current_password": PASSWORD}
        assert alice.patch("/users/me", json=body).status_code == 422
        assert api.sql("SELECT * FROM users ORDER BY id") == before
        assert alice.get("/users/me").status_code == 200


class TestLength:
    """S8: all of a password counts, 72 bytes of UTF-8 at most."""

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("filler", ["x", "é", "\N{GRINNING FACE}"])
    def test_72_bytes_are_kept_and_73_refused(self, api: Api, way: str, filler: str) -> None:
        """S8."""
        start = "Zk4mWq7-"
        longest = start + filler * ((72 - len(start)) // len(filler.encode()))
        assert len(longest.encode()) == 72
        assert set_password(api, way, longest).status_code in {200, 201}
        api.token("alice", longest)
        for wrong in (longest[:-1], longest + "x", longest[:-1] + "y"):
            answer = api.http.post("/token", data={"username": "alice", "password": wrong})
            assert_refused(answer, "invalid_credentials")
        api.sql("DELETE FROM login_sessions WHERE user_id IN (SELECT id FROM users WHERE username = 'alice')")
        api.sql("DELETE FROM users WHERE username = 'alice'")
        assert_invalid(set_password(api, way, longest + "x"), "password")


class TestCost:
    """Hashes follow `BCRYPT_ROUNDS` at the next login."""

    def cost(self, api: Api) -> str:
        hashed: str = api.sql("SELECT hashed_password FROM users WHERE username = 'alice'")[0][0]
        assert bcrypt.checkpw(PASSWORD.encode(), hashed.encode())
        return hashed[:7]

    def test_right_password_is_hashed_anew_when_it_changed(self, api: Api) -> None:
        alice = api.new_actor(**ALICE)
        before, tag = alice.get("/users/me").json(), alice.get("/users/me").headers["ETag"]
        assert self.cost(api) == "$2b$04$"
        with serving(api.server.url, BCRYPT_ROUNDS="5") as server, server.client() as http:
            wrong = http.post("/token", data={"username": "alice", "password": "Wrong-Horse-7"})
            assert wrong.status_code == 401
            assert self.cost(api) == "$2b$04$"
            for _ in range(2):
                answer = http.post("/token", data={"username": "alice", "password": PASSWORD})
                assert answer.status_code == 200
                assert self.cost(api) == "$2b$05$"
        # Nothing that anybody sees has changed, and nobody is logged out.
        answer = alice.get("/users/me")
        assert (answer.json(), answer.headers["ETag"]) == (before, tag)
        api.token("alice", PASSWORD)
        assert self.cost(api) == "$2b$04$"

    def test_current_password_alone_changes_no_hash(self, api: Api) -> None:
        alice = api.new_actor(**ALICE)
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        api.sql("UPDATE users SET hashed_password = :hashed WHERE username = 'alice'", hashed=hashed)
        body = {"email": "new@example.com", "current_password": PASSWORD}
        assert alice.patch("/users/me", json=body).status_code == 200
        assert self.cost(api) == "$2b$05$"
