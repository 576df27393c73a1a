"""Versions of a user: `ETag` and `If-Match`."""

from typing import Any

import pytest

from tests.support.answers import assert_refused
from tests.support.client import Actor, Api
from tests.support.databases import ON_SQLITE
from tests.support.people import NEW_PASSWORD, PASSWORD
from tests.support.unchanged import Unchanged
from tests.support.users import stored, tag_of

WRITES = pytest.mark.parametrize(("method", "body"), [("PUT", {"age": 77}), ("PATCH", {"age": 77}), ("DELETE", None)])


class TestETag:
    """RFC 9110 section 8.8.3."""

    def test_all_answers_about_one_state_have_the_same_strong_tag(self, api: Api) -> None:
        created = api.admin.post(
            "/users", json={"username": "bob", "email": "bob@example.com", "password": PASSWORD, "age": 9}
        )
        bob = api.log_in("bob")
        tags = [created.headers["ETag"]]
        tags += [actor.get(bob.path).headers["ETag"] for actor in (bob, api.admin)]
        tags += [bob.get("/users/me").headers["ETag"], bob.put("/users/me", json={"age": 9}).headers["ETag"]]
        tags += [bob.patch("/users/me", json={}).headers["ETag"]]
        assert len(set(tags)) == 1, tags
        assert tags[0][0] == tags[0][-1] == '"'

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(
        "changes",
        [{"age": 31}, {"username": "Alice"}, {"password": NEW_PASSWORD}, {"is_admin": True}, {"is_active": False}],
    )
    def test_every_change_gives_a_new_one(self, api: Api, alice: Actor, method: str, changes: dict[str, Any]) -> None:
        before = tag_of(alice)
        answer = api.admin.request(method, alice.path, json=changes)
        assert answer.headers["ETag"] != before
        assert api.admin.get(alice.path).headers["ETag"] == answer.headers["ETag"]

    def test_no_change_and_no_login_gives_a_new_one(self, api: Api, alice: Actor) -> None:
        before = tag_of(alice)
        assert alice.patch("/users/me", json={"age": 30, "username": "alice"}).headers["ETag"] == before
        api.log_in("alice")
        assert tag_of(alice) == before


class TestIfMatch:
    """S19: RFC 9110 section 13.1.1."""

    @ON_SQLITE
    @WRITES
    @pytest.mark.parametrize(
        "header",
        [
            "{tag}",
            "*",
            '"x", {tag}',
            '{tag},"x"',
            'W/"1", {tag}',
            "W/{tag}",
            '"1",W/{tag}',
            '"x",,{tag} ,',
            '"a b", {tag}',
        ],
    )
    def test_change_of_this_version_goes_through(self, alice: Actor, method: str, body: Any, header: str) -> None:
        assert alice.patch("/users/me", json={"age": 29}).status_code == 200  # a version other than 1
        headers = {"If-Match": header.format(tag=tag_of(alice))}
        answer = alice.request(method, alice.path, json=body, headers=headers)
        assert answer.status_code == 200

    def test_several_lines_are_one_list(self, alice: Actor) -> None:
        """RFC 9110 section 5.3."""
        for lines in (['"99"', tag_of(alice)], [tag_of(alice), '"99"']):
            headers = [("Authorization", f"Bearer {alice.token}"), *(("If-Match", line) for line in lines)]
            answer = alice.api.http.patch("/users/me", json={"age": 30}, headers=headers)
            assert answer.status_code == 200, lines

    def test_second_of_two_changes_is_refused(self, api: Api, alice: Actor) -> None:
        """S19."""
        read = [actor.get(alice.path).headers["ETag"] for actor in (alice, api.admin)]
        first = alice.patch(alice.path, json={"age": 40}, headers={"If-Match": read[0]})
        second = api.admin.put(alice.path, json={"age": 50}, headers={"If-Match": read[1]})
        assert first.status_code == 200
        assert_refused(second, "precondition_failed")
        assert alice.get("/users/me").json()["age"] == 40
        again = api.admin.put(alice.path, json={"age": 50}, headers={"If-Match": first.headers["ETag"]})
        assert (again.status_code, again.json()["age"]) == (200, 50)

    @WRITES
    def test_who_may_not_learns_nothing_by_it(self, api: Api, alice: Actor, method: str, body: Any) -> None:
        """S3."""
        for tag in (api.admin.get("/users/me").headers["ETag"], '"99"', "*"):
            answer = alice.request(method, api.admin.path, json=body, headers={"If-Match": tag})
            assert_refused(answer, "not_enough_permissions")

    @WRITES
    @pytest.mark.parametrize("tag", ["*", '"1"'])
    def test_missing_user(self, api: Api, method: str, body: Any, tag: str) -> None:
        answer = api.admin.request(method, f"/users/{2**31 - 1}", json=body, headers={"If-Match": tag})
        assert_refused(answer, "user_not_found")

    def test_unchanged_update_of_another_version_is_refused_too(self, alice: Actor) -> None:
        assert_refused(alice.put("/users/me", json={}, headers={"If-Match": '"99"'}), "precondition_failed")

    def test_deleted_and_made_again_is_another_user(self, api: Api, alice: Actor) -> None:
        """S2."""
        tag = tag_of(alice)
        assert api.admin.delete(alice.path, headers={"If-Match": tag}).status_code == 200
        api.new_user("alice")
        assert_refused(api.admin.delete(alice.path, headers={"If-Match": tag}), "user_not_found")


@ON_SQLITE
class TestOtherVersion(Unchanged):
    """S19, S12."""

    @pytest.fixture(scope="class")
    @classmethod
    def alice(cls, api: Api) -> Actor:
        """A user of version 2."""
        alice = api.new_actor("alice", age=30)
        assert alice.patch("/users/me", json={"age": 29}).status_code == 200
        return alice

    @WRITES
    @pytest.mark.parametrize(
        "header",
        [
            '"0"',
            '"99"',
            '"1", "3"',
            '""',
            '"02"',
            '" 2 "',
            '"-2"',
            '"2.0"',
            '"99999999999999999999999999"',
            'W/"1"',
            '"\N{SUPERSCRIPT TWO}"',
        ],
    )
    def test_change_of_another_version_is_refused(
        self, api: Api, alice: Actor, method: str, body: Any, header: str
    ) -> None:
        """S19, S12."""
        tag = tag_of(alice)
        assert tag == '"2"'
        before = stored(api)
        headers = {"If-Match": header.format(tag=tag).encode()}
        assert_refused(alice.request(method, alice.path, json=body, headers=headers), "precondition_failed")  # type: ignore[arg-type]  # bytes, to send what is no text
        assert stored(api) == before

    @WRITES
    @pytest.mark.parametrize(
        "header",
        ["", "2", '"2', '2"', "'2'", "x", "W/*", "w/{tag}", '*, "2"', "{tag} {tag}", ",", "\N{SUPERSCRIPT TWO}"],
    )
    def test_malformed_header_is_a_bad_request(
        self, api: Api, alice: Actor, method: str, body: Any, header: str
    ) -> None:
        """S19, S12."""
        before = stored(api)
        headers = {"If-Match": header.format(tag=tag_of(alice)).encode()}
        answer = alice.request(method, alice.path, json=body, headers=headers)  # type: ignore[arg-type]  # as above
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert "If-Match" in answer.json()["detail"]
        assert stored(api) == before

    def test_header_is_read_after_the_body(self, alice: Actor) -> None:
        """S12."""
        for header in ("x", '"9"'):
            answer = alice.request("PATCH", alice.path, json={"age": -1}, headers={"If-Match": header})
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
