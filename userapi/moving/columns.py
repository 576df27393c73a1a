"""Which column of a source of records gives which field."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from userapi.errors import Refusal

SHOWN = 10  # columns in a message

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,39}")


class Columns:
    """Which column of a source gives which field: the one of the same name, unless `mapping` names another.

    A field that is mapped to no column is not taken. A column that gives nothing is an error, as it may be misspelt,
    unless there is a mapping.
    """

    def __init__(self, fields: Sequence[str], mappings: Sequence[str]) -> None:
        """Take these fields, and map some to columns of other names: `field=column,field=column`.

        Raises:
            Refusal: There is no such field, or that is no mapping.
        """
        pairs = [pair.partition("=") for text in mappings for pair in text.split(",") if pair.strip()]
        mapping = {field.strip(): column.strip() for field, _, column in pairs}
        if wrong := [field for field, equals, _ in pairs if not equals]:
            raise Refusal(f"{wrong[0]}: a mapping is field=column")
        if unknown := mapping.keys() - set(fields):
            raise Refusal(f"{', '.join(sorted(unknown))}: no such field; there are {', '.join(fields)}")
        self._known, self._mapping = ", ".join(fields), mapping
        taken = {name: name for name in fields if name not in mapping and name not in mapping.values()}
        self._fields = {column: field for field, column in mapping.items() if column} | taken

    def require(self, given: Sequence[str]) -> None:
        """Check the columns of a source.

        Where none is known, they may be the first user of a file without a header: nothing of them is told.

        Raises:
            Refusal: None is known, one that is mapped is not there, one is there twice, or one is none of a user's.
        """
        if self._fields.keys().isdisjoint(given):
            wanted = ", ".join(self._fields)
            raise Refusal(f"no column is one of {wanted}: the first line of CSV must be a header that names them")
        if absent := [column for column in self._mapping.values() if column and column not in given]:
            raise Refusal(f"there is no column {', '.join(absent)}; there are {_named(given)}")
        if twice := [column for column, count in Counter(given).items() if count > 1 and column in self._fields]:
            raise Refusal(f"there is more than one column {', '.join(twice)}")
        if unknown := self.unknown(given):
            raise Refusal(f"{unknown}: --map says which columns to take, and the others are left out")

    def unknown(self, given: Sequence[str]) -> str | None:
        """Return what is wrong with the columns that give nothing, if that is an error."""
        strange = [] if self._mapping else [column for column in given if column not in self._fields]
        return f"no such column: {_named(strange)}; there are {self._known}" if strange else None

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a row by field; an empty text is none."""
        found = {field: given.get(column) for column, field in self._fields.items()}
        return {field: _plain(value) for field, value in found.items() if value is not None and value != ""}


def _named(columns: Sequence[str]) -> str:
    """Return the names of columns for a message, and of what is no name, as a password or a hash, only how much."""
    names = [column for column in columns if _NAME.fullmatch(column)][:SHOWN]
    others = len(columns) - len(names)
    return ", ".join([*names, *([f"{others} not shown"] if others else [])])


def _plain(value: Any) -> Any:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray | memoryview) else value
