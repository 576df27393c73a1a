"""The columns that hot statements are made of, and users as a list shows them: entities cost three times as much."""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Boolean, Row, String, case, func, inspect, literal_column, type_coerce
from sqlalchemy.sql.elements import ColumnElement

from userapi.models import LoginSession, Timestamp, User, UserPublic

USERS, SESSIONS = inspect(User).local_table.c, inspect(LoginSession).local_table.c
PUBLIC_FIELDS = tuple(UserPublic.model_fields)
PUBLIC_COLUMNS: list[ColumnElement[Any]] = [USERS[name] for name in PUBLIC_FIELDS]
TAGGED_COLUMNS = [*PUBLIC_COLUMNS, USERS.version]


def _text(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'", String)


def _instant(column: ColumnElement[Any]) -> ColumnElement[str]:
    """As pydantic writes it; these databases tell it as `2026-01-31 12:00:00.000000`."""
    written = func.replace(type_coerce(column, String), _text(" "), _text("T"), type_=String)
    return func.replace(written, _text(".000000"), _text(""), type_=String) + _text("Z")


def _truth(name: str) -> ColumnElement[str]:
    return case((USERS[name], _text(f'"{name}":true,')), else_=_text(f'"{name}":false,'))


def _json() -> ColumnElement[str]:
    """The public fields as a JSON object. JSON functions write 1 for true, so the truths stand before the rest."""
    truths = [_truth(name) for name in PUBLIC_FIELDS if isinstance(USERS[name].type, Boolean)]
    others = [name for name in PUBLIC_FIELDS if not isinstance(USERS[name].type, Boolean)]
    values = [_instant(USERS[name]) if isinstance(USERS[name].type, Timestamp) else USERS[name] for name in others]
    rest = func.json_object(*chain(*zip(map(_text, others), values, strict=True)), type_=String)
    return sum(truths, start=_text("{")) + func.substr(rest, literal_column("2"), type_=String)


# aiomysql, half of it Python, takes 17 us for a row of columns. PostgreSQL makes JSON in three times what that saves.
_AS_JSON: dict[str, list[ColumnElement[Any]]] = {dialect: [_json()] for dialect in ("sqlite", "mysql")}


def listed(dialect: str) -> list[ColumnElement[Any]]:
    """What to select of users, before anything else, for `json_array`."""
    return _AS_JSON.get(dialect, PUBLIC_COLUMNS)


def json_array(dialect: str, rows: Sequence[Row[Any]]) -> bytes:
    """Give users as the JSON array of an answer: what the database gave is written as it is, not validated again."""
    if dialect in _AS_JSON:
        return f"[{','.join([row[0] for row in rows])}]".encode()
    return to_json(list(map(dict, map(zip, repeat(PUBLIC_FIELDS), rows))))
