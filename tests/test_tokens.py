"""Access tokens: what ends them, whom they fit, and which are refused."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from tests.service import ADMIN_PASSWORD, PASSWORD, SECRET_KEY, Actor, Api, assert_refused, bearer, run

NEW_PASSWORD = "Other-Saddle-8"


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def forge(claims: dict[str, Any], algorithm: str | None = "HS256", key: str = SECRET_KEY, **headers: Any) -> str:
    """A token with any claims, signed as the service does unless told otherwise."""
    header = _part({"alg": algorithm or "none", "typ": "JWT", **headers})
    signed = f"{header}.{_part(claims)}"
    if algorithm is None:
        return f"{signed}."
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key.encode())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def assert_dead(actor: Actor) -> None:
    assert_refused(actor.get("/users/me"), "invalid_token")


class TestRevocation:
    """S1."""

    def test_own_password_change_ends_all_sessions_but_the_one_that_made_it(self, api: Api) -> None:
        alice, elsewhere, bob = api.new_actor("alice"), api.log_in("alice"), api.new_actor("bob")
        changed = alice.put("/users/me", json={"password": NEW_PASSWORD, "current_password": PASSWORD})
        assert changed.status_code == 200
        assert_dead(elsewhere)
        assert alice.get("/users/me").status_code == 200
        assert bob.get("/users/me").status_code == 200

    def test_password_set_by_an_admin_ends_all_sessions(self, api: Api) -> None:
        alice, elsewhere = api.new_actor("alice"), api.log_in("alice")
        assert api.admin.put(alice.path, json={"password": NEW_PASSWORD}).status_code == 200
        assert_dead(alice)
        assert_dead(elsewhere)
        assert api.admin.get("/users/me").status_code == 200

    def test_password_set_by_the_operator_ends_all_sessions(self, api: Api) -> None:
        alice = api.new_actor("alice")
        done = run("userapi", "set-password", "alice", "--password-stdin", url=api.server.url, stdin=NEW_PASSWORD)
        assert done.returncode == 0, done.stderr
        assert_dead(alice)
        api.log_in("alice", NEW_PASSWORD)

    def test_deactivation_ends_all_sessions_for_good(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.put(alice.path, json={"is_active": False}).status_code == 200
        assert_dead(alice)
        assert api.admin.put(alice.path, json={"is_active": True}).status_code == 200
        assert_dead(alice)
        api.log_in("alice")

    def test_deletion_ends_all_sessions(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.delete(alice.path).status_code == 200
        assert_dead(alice)

    @pytest.mark.parametrize("changes", [{"age": 9}, {"username": "alicia"}, {"email": "new@example.com"}])
    def test_other_changes_end_none(self, api: Api, changes: dict[str, Any]) -> None:
        alice = api.new_actor("alice")
        assert api.admin.put(alice.path, json=changes).status_code == 200
        assert alice.get("/users/me").status_code == 200

    def test_login_racing_a_password_change_does_not_outlive_the_old_password(self, api: Api) -> None:
        alice = api.new_user("alice")
        passwords = [PASSWORD, NEW_PASSWORD]
        for _ in range(4):
            old, new = passwords

            def log_in(_: int, password: str = old) -> str | None:
                answer = api.http.post("/token", data={"username": "alice", "password": password})
                assert answer.status_code in {200, 401}
                token: str | None = answer.json().get("access_token")
                return token

            with ThreadPoolExecutor(8) as pool:
                first = list(pool.map(log_in, range(8)))
                racing = pool.map(log_in, range(24))
                assert api.admin.put(f"/users/{alice['id']}", json={"password": new}).status_code == 200
                tokens = [token for token in [*first, *racing] if token is not None]
            assert len(tokens) >= len(first)
            for token in tokens:
                assert_refused(api.http.get("/users/me", headers=bearer(token)), "invalid_token")
            passwords.reverse()


class TestIdentity:
    """S2."""

    def test_token_of_a_deleted_user_does_not_fit_the_next_one(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert api.admin.delete(alice.path).status_code == 200
        again = api.new_actor("alice")
        assert again.id > alice.id
        assert_dead(alice)
        assert again.get("/users/me").status_code == 200

    def test_session_ids_are_not_given_twice(self, api: Api) -> None:
        alice, bob = api.new_actor("alice"), api.new_actor("bob")
        assert api.admin.delete(bob.path).status_code == 200
        again = api.log_in("alice")
        assert claims_of(again.token)["sid"] > claims_of(bob.token)["sid"] > claims_of(alice.token)["sid"]

    def test_renamed_user_keeps_its_token_and_passes_it_to_nobody(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.put("/users/me", json={"username": "alicia"}).status_code == 200
        again = api.new_user("alice", email="a@example.com")
        assert alice.get("/users/me").json()["username"] == "alicia"
        assert_refused(alice.get(f"/users/{again['id']}"), "not_enough_permissions")

    def test_session_of_another_user_does_not_fit(self, api: Api) -> None:
        alice, bob = claims_of(api.new_actor("alice").token), claims_of(api.new_actor("bob").token)
        for mixed in (alice | {"sid": bob["sid"]}, alice | {"sub": bob["sub"]}):
            assert_refused(api.http.get("/users/me", headers=bearer(forge(mixed))), "invalid_token")


ABSENT = object()
NO_NUMBERS: list[Any] = [None, "", "x", [], {}, float("nan"), float("inf")]
TOO_BIG = [2**31, 2**63, 10**18, 10**30]
ODD_CLAIM_VALUES: dict[str, list[Any]] = {
    "exp": [ABSENT, *NO_NUMBERS, 0, -1, True, -(10**30)],
    "iat": [ABSENT, *NO_NUMBERS, 10**12, 10**30],
    "nbf": [*NO_NUMBERS[1:], 10**12, 10**30],
    "sub": [ABSENT, None, "", "alice", "0", "-1", "1.0", "1e3", "\0", "\ud800", "9" * 5000, 1, 1.5, True, [], {}]
    + [str(number) for number in TOO_BIG],
    "sid": [ABSENT, *NO_NUMBERS, 0, -1, 1.5, "\0", "9" * 5000, *TOO_BIG],
    "gen": [ABSENT, *NO_NUMBERS, 0, -1, *TOO_BIG],
    "aud": [ABSENT, None, "", "userapi:refresh", "userapi", [], {}, 5, ["userapi:refresh"], [5]],
}
ODD_CLAIMS = [(name, value) for name, values in ODD_CLAIM_VALUES.items() for value in values]


class TestForgery:
    """S9."""

    @pytest.fixture
    def claims(self, api: Api) -> dict[str, Any]:
        """The claims of a living token; a copy of it is accepted, so that each refusal has one cause."""
        claims = claims_of(api.admin.token)
        assert api.http.get("/users/me", headers=bearer(forge(claims))).status_code == 200
        return claims

    @pytest.mark.parametrize(
        ("name", "value"), ODD_CLAIMS, ids=lambda value: "-" if value is ABSENT else ascii(value)[:24]
    )
    def test_missing_or_odd_claim_is_refused(self, api: Api, claims: dict[str, Any], name: str, value: Any) -> None:
        """S12."""
        claims[name] = value
        if value is ABSENT:
            del claims[name]
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")

    @pytest.mark.parametrize("wanted", ["{}.0", " {}", "+{}", "0{}", "{}\n", "{}_"])
    def test_subject_is_written_in_one_way(self, api: Api, claims: dict[str, Any], wanted: str) -> None:
        claims["sub"] = wanted.format(claims["sub"])
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")

    @pytest.mark.parametrize("seconds", [-1, -30, -3600])
    def test_expired_token_is_refused(self, api: Api, claims: dict[str, Any], seconds: int) -> None:
        claims["exp"] = int(time.time()) + seconds
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims))), "invalid_token")

    def test_refresh_token_is_no_access_token(self, api: Api) -> None:
        answer = api.http.post("/token", data={"username": "admin", "password": ADMIN_PASSWORD})
        refresh_token = answer.json()["refresh_token"]
        assert_refused(api.http.get("/users/me", headers=bearer(refresh_token)), "invalid_token")

    @pytest.mark.parametrize("algorithm", [None, "HS384", "HS512"])
    def test_other_algorithm_is_refused(self, api: Api, claims: dict[str, Any], algorithm: str | None) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, algorithm))), "invalid_token")

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "HS512", "RS256", "", "hs256", None, 5, []])
    def test_claimed_algorithm_is_not_believed(self, api: Api, claims: dict[str, Any], name: Any) -> None:
        for token in (forge(claims, alg=name), forge(claims, None, alg=name)):
            assert_refused(api.http.get("/users/me", headers=bearer(token)), "invalid_token")

    @pytest.mark.parametrize("key", ["", "x", SECRET_KEY[:-1], SECRET_KEY.upper(), "f" * 64])
    def test_foreign_key_is_refused(self, api: Api, claims: dict[str, Any], key: str) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, key=key))), "invalid_token")

    @pytest.mark.parametrize(
        "header", [{"crit": ["x"]}, {"b64": False, "crit": ["b64"]}, {"crit": "x"}, {"kid": {}}], ids=ascii
    )
    def test_header_that_must_be_understood_is_refused(self, api: Api, claims: dict[str, Any], header: Any) -> None:
        """RFC 7515 section 4.1.11."""
        assert_refused(api.http.get("/users/me", headers=bearer(forge(claims, **header))), "invalid_token")

    @pytest.mark.parametrize("payload", [None, [], "text", 5, [[[]]], {}], ids=ascii)
    def test_payload_that_is_no_object_of_claims_is_refused(self, api: Api, payload: Any) -> None:
        assert_refused(api.http.get("/users/me", headers=bearer(forge(payload))), "invalid_token")

    def test_tampered_token_is_refused(self, api: Api) -> None:
        user = api.new_actor("alice")
        header, _, signature = user.token.split(".")
        payload = _part(claims_of(user.token) | {"sub": str(api.admin.id)})
        cut = user.token[:-4]
        for token in (f"{header}.{payload}.{signature}", cut, user.token + "AAAA", f"{header}..{signature}"):
            assert_refused(api.http.get("/users/me", headers=bearer(token)), "invalid_token")

    @pytest.mark.parametrize(
        "token",
        [
            b"x",
            b".",
            b"..",
            b"....",
            b"a.b.c",
            b"\xff.\xfe.\xfd",
            "\N{GRINNING FACE}".encode(),
            b"eyJ" + b"A" * 60_000,
            b"=.=.=",
            b"null",
            b"Bearer x",
            b"a b c",
        ],
        ids=lambda token: ascii(token)[:20],
    )
    def test_what_is_no_jwt_is_refused(self, api: Api, token: bytes) -> None:
        """S12."""
        answer = api.http.get("/users/me", headers={b"Authorization": b"Bearer " + token})
        assert_refused(answer, "invalid_token")


class TestChallenge:
    """S17: RFC 6750 section 3."""

    @pytest.mark.parametrize("header", [None, "", "Basic YWRtaW46YWRtaW4=", "Digest x", "Token {}", "{}", "Bearer{}"])
    def test_without_a_bearer_token_names_only_the_scheme(self, api: Api, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header.format(api.admin.token)}
        answer = api.http.get("/users/me", headers=headers)
        assert_refused(answer, "not_authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_with_a_dead_token_says_so(self, api: Api) -> None:
        alice = api.new_actor("alice")
        assert alice.delete("/users/me").status_code == 200
        answer = alice.get("/users/me")
        assert_refused(answer, "invalid_token")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_scheme_is_case_insensitive(self, api: Api, scheme: str) -> None:
        answer = api.http.get("/users/me", headers={"Authorization": f"{scheme} {api.admin.token}"})
        assert answer.status_code == 200

    def test_token_in_query_or_form_is_not_taken(self, api: Api) -> None:
        """RFC 6750 section 2: a URL ends up in logs."""
        token = {"access_token": api.token("admin", ADMIN_PASSWORD)}
        assert_refused(api.http.get("/users/me", params=token), "not_authenticated")
        assert_refused(api.http.put("/users/me", data=token), "not_authenticated")
