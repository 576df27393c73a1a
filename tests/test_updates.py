"""Safe updates: PATCH as a merge patch, If-Match, the current password."""

from typing import Any

import pytest

from tests.service import (
    ON_SQLITE,
    PASSWORD,
    Actor,
    Api,
    Call,
    assert_invalid,
    assert_refused,
    at_once,
)

NEW_PASSWORD = "Other-Saddle-8"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
WRITES = pytest.mark.parametrize(("method", "body"), [("PUT", {"age": 77}), ("PATCH", {"age": 77}), ("DELETE", None)])


@pytest.fixture
def alice(api: Api) -> Actor:
    return api.new_actor("alice", age=30)


def stored(api: Api) -> list[Any]:
    return api.sql("SELECT * FROM users ORDER BY id")


def tag_of(actor: Actor) -> str:
    tag: str = actor.get("/users/me").headers["ETag"]
    return tag


def short(value: Any) -> str:
    return ascii(value)[:40]


class TestMergePatch:
    """RFC 7396."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"username": "alicia"},
            {"age": 31},
            {"age": None},
            {"username": "Alice"},
            {"age": 1, "username": "alicia"},
            {"email": "Alice@example.com"},
        ],
        ids=short,
    )
    def test_changes_what_is_there_and_keeps_the_rest(self, alice: Actor, changes: dict[str, Any]) -> None:
        answer = alice.patch("/users/me", json=changes)
        assert answer.status_code == 200
        assert answer.json() == alice.user | changes | {"updated_at": answer.json()["updated_at"]}
        assert answer.json()["updated_at"] is not None
        assert alice.get("/users/me").json() == answer.json()

    def test_admin_changes_everything_of_another(self, api: Api, alice: Actor) -> None:
        changes = {
            "username": "alicia",
            "email": "alicia@example.org",
            "age": None,
            "is_admin": True,
            "is_active": True,
        }
        answer = api.admin.patch(alice.path, json=changes | {"password": NEW_PASSWORD})
        assert answer.status_code == 200
        assert answer.json() == alice.user | changes | {"updated_at": answer.json()["updated_at"]}
        api.log_in("alicia@example.org", NEW_PASSWORD)

    @pytest.mark.parametrize(
        "media", ["application/merge-patch+json", "application/json", "application/json; charset=utf-8"]
    )
    def test_media_types(self, alice: Actor, media: str) -> None:
        answer = alice.patch("/users/me", content=b'{"age": null}', headers={"Content-Type": media})
        assert answer.status_code == 200
        assert answer.json()["age"] is None

    @pytest.mark.parametrize("field", ["username", "email", "password", "is_admin", "is_active", "current_password"])
    def test_null_clears_nothing_but_the_age(self, api: Api, alice: Actor, field: str) -> None:
        before = stored(api)
        assert_invalid(api.admin.patch(alice.path, json={"age": None, field: None}), field)
        assert_invalid(alice.patch("/users/me", json={field: None}, headers=MERGE_PATCH), field)
        assert stored(api) == before

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("username", "al"),
            ("username", "no space"),
            ("email", "nowhere"),
            ("password", "short-9"),
            ("password", "Zk4mWq7" + "x" * 66),
            ("password", "Zk4mWq7" + "é" * 33),
            ("password", "Zk4m\0Wq7x"),
            ("age", 0),
            ("age", 121),
            ("is_active", "perhaps"),
        ],
        ids=short,
    )
    def test_broken_rule_is_named_and_nothing_changed(self, api: Api, alice: Actor, field: str, value: Any) -> None:
        """S8, S12."""
        before = stored(api)
        assert_invalid(api.admin.patch(alice.path, json={"username": "alicia", field: value} | {field: value}), field)
        assert stored(api) == before

    @ON_SQLITE
    @pytest.mark.parametrize("body", ["[]", "null", '"text"', "5", "", '[{"op": "remove", "path": "/age"}]'])
    def test_body_must_be_an_object(self, api: Api, alice: Actor, body: str) -> None:
        before = stored(api)
        answer = alice.patch("/users/me", content=body, headers=MERGE_PATCH)
        assert answer.status_code == 422
        assert stored(api) == before

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": 999},
            {"hashed_password": "x", "updated_at": None, "created_at": "2000-01-01T00:00:00Z"},
            {"version": 99, "username_key": "bob"},
            {"nickname": None},
        ],
        ids=short,
    )
    def test_unknown_and_read_only_keys_are_ignored(self, api: Api, alice: Actor, changes: dict[str, Any]) -> None:
        """S4."""
        before = stored(api)
        answer = alice.patch("/users/me", json=changes)
        assert (answer.status_code, answer.json()) == (200, alice.user)
        assert stored(api) == before

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"username": "BOB"}, "username_taken"),
            ({"email": "Bob@Example.com"}, "email_taken"),
            ({"username": "bob", "email": "bob@example.com"}, "username_taken"),
        ],
        ids=short,
    )
    def test_taken_name_changes_nothing(self, api: Api, alice: Actor, changes: dict[str, Any], code: str) -> None:
        """S5."""
        api.new_user("bob")
        before = stored(api)
        assert_refused(api.admin.patch(alice.path, json={"age": 99, **changes}), code)
        assert_refused(alice.patch("/users/me", json={**changes, "current_password": PASSWORD}), code)
        assert stored(api) == before

    def test_missing_user(self, api: Api) -> None:
        assert_refused(api.admin.patch(f"/users/{2**31 - 1}", json={"age": None}), "user_not_found")


class TestPermissions:
    """S3, S4."""

    @pytest.mark.parametrize("target", ["admin", "missing"])
    @pytest.mark.parametrize("changes", [{}, {"age": 5}, {"is_admin": False}], ids=short)
    def test_nobody_elses(self, api: Api, alice: Actor, target: str, changes: dict[str, Any]) -> None:
        """S3."""
        before = stored(api)
        path = api.admin.path if target == "admin" else f"/users/{2**31 - 1}"
        assert_refused(alice.patch(path, json=changes), "not_enough_permissions")
        assert_refused(api.http.patch(path, json=changes), "not_authenticated")
        assert stored(api) == before

    @pytest.mark.parametrize("changes", [{"is_admin": True}, {"is_active": False}], ids=short)
    def test_privileges_change_by_no_means(self, api: Api, alice: Actor, changes: dict[str, Any]) -> None:
        """S4: also with the current password."""
        before = stored(api)
        body = {"age": None, "password": NEW_PASSWORD, "current_password": PASSWORD, **changes}
        assert_refused(alice.patch("/users/me", json=body), "not_enough_permissions")
        assert_refused(alice.patch(alice.path, json=changes), "not_enough_permissions")
        assert stored(api) == before

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_naming_privileges_as_they_are_is_no_violation(self, alice: Actor, method: str) -> None:
        body = {"is_admin": False, "is_active": True, "age": 31}
        answer = alice.request(method, "/users/me", json=body)
        assert answer.status_code == 200
        assert answer.json()["age"] == 31

    @pytest.mark.parametrize("changes", [{"is_admin": False}, {"is_active": False}], ids=short)
    def test_last_active_admin_stays(self, api: Api, changes: dict[str, Any]) -> None:
        """S13."""
        before = stored(api)
        assert_refused(api.admin.patch("/users/me", json=changes), "last_admin")
        assert stored(api) == before


class TestWholeObject:
    """Clients send back what they got."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("age", [30, None])
    def test_unchanged_changes_nothing(self, api: Api, alice: Actor, method: str, age: int | None) -> None:
        if age is None:
            alice.user = alice.patch("/users/me", json={"age": None}).json()
        tag, before = tag_of(alice), stored(api)
        for actor in (alice, api.admin):
            answer = actor.request(method, alice.path, json=alice.user)
            assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, alice.user, tag)
        assert stored(api) == before

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_with_one_change_changes_that(self, alice: Actor, method: str) -> None:
        answer = alice.request(method, "/users/me", json=alice.user | {"username": "alicia"})
        assert answer.status_code == 200
        assert answer.json() == alice.user | {"username": "alicia", "updated_at": answer.json()["updated_at"]}

    def test_null_means_keep_to_put_and_clear_to_patch(self, alice: Actor) -> None:
        assert alice.put("/users/me", json={"age": None}).json()["age"] == 30
        assert alice.patch("/users/me", json={"age": None}).json()["age"] is None


class TestCurrentPassword:
    """S15: as with PUT."""

    GUARDED = pytest.mark.parametrize(
        "changes", [{"password": NEW_PASSWORD}, {"email": "new@example.com"}, {"password": PASSWORD}], ids=short
    )

    @GUARDED
    @pytest.mark.parametrize(
        ("given", "code"),
        [
            ({}, "current_password_required"),
            ({"current_password": ""}, "current_password_incorrect"),
            ({"current_password": PASSWORD.lower()}, "current_password_incorrect"),
            ({"current_password": PASSWORD + "\0"}, "current_password_incorrect"),
            ({"current_password": "x" * 5000}, "current_password_incorrect"),
        ],
        ids=short,
    )
    def test_own_password_or_email_needs_it(
        self, api: Api, alice: Actor, changes: dict[str, Any], given: dict[str, Any], code: str
    ) -> None:
        """S15."""
        before = stored(api)
        assert_refused(alice.patch("/users/me", json={"age": None, **changes, **given}), code)
        assert stored(api) == before
        assert alice.get("/users/me").status_code == 200

    @GUARDED
    def test_right_one_lets_the_change_through(self, api: Api, alice: Actor, changes: dict[str, Any]) -> None:
        answer = alice.patch(alice.path, json={**changes, "current_password": PASSWORD})
        assert answer.status_code == 200
        assert PASSWORD not in answer.text
        api.log_in(answer.json()["email"], changes.get("password", PASSWORD))

    def test_admin_needs_it_for_itself_only(self, api: Api, alice: Actor) -> None:
        """S15."""
        assert_refused(api.admin.patch("/users/me", json={"password": NEW_PASSWORD}), "current_password_required")
        assert api.admin.patch(alice.path, json={"password": NEW_PASSWORD}).status_code == 200
        api.log_in("alice", NEW_PASSWORD)

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_admins_own_does_not_open_anothers(self, api: Api, alice: Actor, method: str) -> None:
        """An admin names no password for others; one that comes along is no matter."""
        body = {"password": NEW_PASSWORD, "current_password": "wrong"}
        assert api.admin.request(method, alice.path, json=body).status_code == 200

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(
        "changes", [{"username": "alicia", "age": 9}, {"email": "ALICE@example.com"}, {"email": "alice@example.com"}]
    )
    def test_other_changes_need_none(self, alice: Actor, method: str, changes: dict[str, Any]) -> None:
        """An address in other letters is the same address."""
        answer = alice.request(method, "/users/me", json=changes)
        assert answer.status_code == 200
        assert changes.items() <= answer.json().items()

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_wrong_one_does_not_matter_where_none_is_needed(self, alice: Actor, method: str) -> None:
        assert alice.request(method, "/users/me", json={"age": 9, "current_password": "wrong"}).status_code == 200


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
        ids=short,
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
        "header", ["{tag}", "*", '"x", {tag}', '{tag},"x"', 'W/"1", {tag}', '"x",,{tag} ,', '"a b", {tag}']
    )
    def test_change_of_this_version_goes_through(self, alice: Actor, method: str, body: Any, header: str) -> None:
        assert alice.patch("/users/me", json={"age": 29}).status_code == 200  # a version other than 1
        headers = {"If-Match": header.format(tag=tag_of(alice))}
        answer = alice.request(method, alice.path, json=body, headers=headers)
        assert answer.status_code == 200

    @ON_SQLITE
    @WRITES
    @pytest.mark.parametrize(
        "header",
        [
            "W/{tag}",
            '"0"',
            '"99"',
            '"1", "3"',
            '"1", W/{tag}',
            "",
            '""',
            "2",
            '"2',
            '2"',
            "'2'",
            '"02"',
            '" 2 "',
            '"-2"',
            '"2.0"',
            '"99999999999999999999999999"',
            "x",
            "W/*",
            "\N{SUPERSCRIPT TWO}",
            '"\N{SUPERSCRIPT TWO}"',
        ],
    )
    def test_change_of_another_version_is_refused(
        self, api: Api, alice: Actor, method: str, body: Any, header: str
    ) -> None:
        """S19, S12."""
        assert alice.patch("/users/me", json={"age": 29}).status_code == 200
        tag = tag_of(alice)
        assert tag == '"2"'
        before = stored(api)
        headers = {"If-Match": header.format(tag=tag).encode()}
        assert_refused(alice.request(method, alice.path, json=body, headers=headers), "precondition_failed")  # type: ignore[arg-type]  # bytes, to send what is no text
        assert stored(api) == before

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

    def test_of_parallel_changes_of_one_version_one_goes_through(self, crowded: Api) -> None:
        """S19: on four processes."""
        alice = crowded.new_actor("alice")
        for number in range(10):
            headers = {"If-Match": tag_of(alice)}
            calls = [
                Call("PATCH", alice.path, actor.token, {"age": 1 + 10 * number + each % 7}, headers=headers)
                for each, actor in enumerate([alice, crowded.admin] * 5)
            ]
            replies = at_once(crowded.server, calls)
            assert sorted(reply.status for reply in replies) == [200] + [412] * 9, replies
            (winner,) = (reply for reply in replies if reply.status == 200)
            assert alice.get("/users/me").json() == winner.body

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
