"""What is found in the tutorial's table, and what of it cannot be taken over as it is."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from userapi.models import PUBLIC_FIELDS
from userapi.moving import bulk, foreign
from userapi.moving.foreign import ForeignUserError

CHUNK = 1000  # users at a time
COLUMNS = (*PUBLIC_FIELDS, "hashed_password")  # all that is taken over
NEEDED = {"id", "username", "email", "hashed_password"}

Names = dict[int, dict[str, str]]  # new names of users whose own collide, by id


class ProblemError(Exception):
    """A user cannot be taken over; the message says why, and what to do about it."""


def rows(connection: Connection, table: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in the order of their ids, as the driver gives them."""
    found = sa.table(table, *[sa.column(name) for name in columns])
    after: sa.BindParameter[int] = sa.bindparam("after")
    chunk = sa.select(found).order_by(found.c.id).limit(CHUNK)
    last: dict[str, Any] = {}
    while read := connection.execute(chunk.where(found.c.id > after) if last else chunk, last).all():
        for row in read:
            yield row._asdict()
        last = {"after": read[-1].id}


def taken_over(row: Mapping[str, Any], zone: tzinfo, names: Names) -> dict[str, Any]:
    """Return the columns of a user here; times that do not say their zone are of `zone`.

    Raises:
        ProblemError: A rule about users is broken.
    """
    given = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    given = {"is_admin": False, "is_active": False, **given, **names.get(row["id"], {})}  # null was as good as false
    try:
        values = foreign.columns(given, zone)
    except ForeignUserError as error:
        shown = "".join(f" {given.get(name)!r}" for name in error.fields if name != "hashed_password")
        change = ", ".join(f"{name} = ..." for name in error.fields)
        raise ProblemError(f"{error}{shown}: {_mend(row['id'], change)}") from None
    return foreign.whole(values)


def problems(users: Iterator[dict[str, Any]], zone: tzinfo, *, rename: bool) -> tuple[int, list[str], Names]:
    """Return how many users there are, what is wrong with them, a line each, and the names that collisions get.

    Without `rename`, collisions are among what is wrong.
    """
    count, wrong, names = 0, [], Names()
    owners: dict[str, dict[str, int]] = {"username": {}, "email": {}}
    colliding: list[tuple[dict[str, Any], str, int]] = []
    for row in users:
        count += 1
        try:
            user = taken_over(row, zone, {})
        except ProblemError as problem:
            wrong.append(f"id {row['id']}: {problem}")
            continue
        for name, owned in owners.items():
            owner = owned.setdefault(user[f"{name}_key"], user["id"])
            if owner != user["id"]:
                colliding.append((user, name, owner))
    for user, name, owner in colliding:
        new = _free(user, name, owners[name])
        names.setdefault(user["id"], {})[name] = new
        if not rename:
            wrong.append(
                f"id {user['id']}: {name} {user[name]!r} is that of id {owner}, for case is ignored:"
                f" {_mend(user['id'], f'{name} = ...')}, or --rename-collisions makes it {new!r}"
            )
    return count, wrong, names


def _mend(user_id: int, change: str) -> str:
    """Return the statement by which the operator mends a user: advice, which is not run."""
    return f"UPDATE users SET {change} WHERE id = {user_id}"  # noqa: S608


def _free(user: Mapping[str, Any], name: str, owned: dict[str, int]) -> str:
    """Return a name that nobody has: the user's own with its id, and a number if need be."""
    number, text = 0, str(user[name])
    while True:
        end = f"_{user['id']}" + (f"_{number}" if number else "")
        local, at, domain = text.partition("@")
        new = f"{local[: 64 - len(end)]}{end.replace('_', '+', 1)}{at}{domain}" if at else text[: 20 - len(end)] + end
        key = bulk.keys({name: new})[f"{name}_key"]
        if owned.setdefault(key, user["id"]) == user["id"]:
            return new
        number += 1
