"""Listing users: how a user looks in a list."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from tests.support.client import Api
from tests.support.insides import User
from tests.support.listing import alone, columns, listing


class TestForm:
    def test_is_the_same_in_a_list_as_alone(self, api: Api) -> None:
        """Whoever writes the JSON of a list: whole seconds, long ago and far ahead, characters that JSON escapes."""
        whole, odd = (
            datetime(2024, 5, 17, 9, 30, tzinfo=UTC),
            "a\"\\/\b\f\n\r\t\x01\x7f\u2028é\U0001f600}'%:x@example.com",
        )
        people = [
            columns("whole_second", "whole@example.com", 0) | {"created_at": whole, "updated_at": whole},
            columns("odd", odd, 0, is_active=False) | {"age": 1, "updated_at": whole + timedelta(microseconds=120)},
            columns("old", "old@example.com", 0, is_admin=True) | {"created_at": datetime(1970, 1, 1, tzinfo=UTC)},
            columns("ahead", "ahead@example.com", 0)
            | {"created_at": datetime(8999, 12, 31, 23, 59, 59, 10, tzinfo=UTC)},
        ]
        for person in people:
            api.execute(sa.insert(User), [person])
        for parameters in ({}, {"sort": "-username"}, {"q": "o"}, {"q": "o", "sort": "created_at"}):
            listed = listing(api, **parameters)
            assert len(listed) == (2 if "q" in parameters else 5)
            answers = [api.admin.get(f"/users/{user['id']}") for user in listed]
            assert alone(listed) == [answer.json() for answer in answers]
            assert [f'"{user["version"]}"' for user in listed] == [answer.headers["ETag"] for answer in answers]
        assert {user["email"] for user in listing(api)} >= {odd}
