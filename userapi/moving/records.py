"""Records: read from a file of CSV or JSON Lines or from a table of a database, and written to a file of one's own."""

import csv
import io
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy import URL
from sqlalchemy.pool import NullPool

from userapi.errors import Refusal
from userapi.kit.database.engines import driver_url, server_engine
from userapi.kit.database.sqlite import sqlite_file

MAX_LINE = 2**20  # bytes: a longer one is refused, not read into memory


class Row(NamedTuple):
    """A record: its values by field, and where it is; `problem`, if it cannot be read."""

    line: int
    values: Mapping[str, Any]
    problem: str | None = None


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

        Raises:
            Refusal: One that is mapped is not there, or one that is there is none of a user's.
        """
        if absent := [column for column in self._mapping.values() if column and column not in given]:
            raise Refusal(f"there is no column {', '.join(absent)}; there are {', '.join(given)}")
        if unknown := self.unknown(given):
            raise Refusal(f"{unknown}: --map says which columns to take, and the others are left out")

    def unknown(self, given: Sequence[str]) -> str | None:
        """Return what is wrong with the columns that give nothing, if that is an error."""
        strange = [] if self._mapping else [column for column in given if column not in self._fields]
        return f"no such column: {', '.join(map(str, strange))[:200]}; there are {self._known}" if strange else None

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a row by field; an empty text is none."""
        found = {field: given.get(column) for column, field in self._fields.items()}
        return {field: _plain(value) for field, value in found.items() if value is not None and value != ""}


def _plain(value: Any) -> Any:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray | memoryview) else value


def size(file: BinaryIO) -> int:
    """Return the size of a file in bytes; 0 for a pipe."""
    if not file.seekable():
        return 0
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    return end


async def of_file(file: BinaryIO, columns: Columns) -> AsyncIterator[Row]:
    """Yield the rows of a file. It is JSON Lines if it begins with `{`, else CSV with a header; UTF-8.

    Raises:
        Refusal: It has no header, or unknown columns.
    """
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        raise Refusal("the file is empty: the first line must be a header (CSV) or a JSON object")
    rows = _json_rows if first[1].startswith("{") else _csv_rows
    for row in rows(first, lines, columns):
        yield row


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield the lines and their numbers, beginning with the first that is not blank."""
    number, begun = 0, False
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise Refusal(f"line {number} is longer than {MAX_LINE} bytes")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
        begun = begun or bool(text.strip())
        if begun:
            yield number, text


def _json_rows(first: tuple[int, str], lines: Iterator[tuple[int, str]], columns: Columns) -> Iterator[Row]:
    line: tuple[int, str] | None = first
    while line is not None:
        number, text = line
        if text.strip():
            try:
                given = orjson.loads(text)
            except ValueError:  # its words repeat the input
                given = None
            if isinstance(given, dict):
                yield Row(number, columns.values(given), columns.unknown(list(given)))
            else:
                yield Row(number, {}, "is no JSON object")
        line = next(lines, None)


def _csv_rows(first: tuple[int, str], lines: Iterator[tuple[int, str]], columns: Columns) -> Iterator[Row]:
    last = first[0]

    def texts() -> Iterator[str]:
        nonlocal last
        for last, text in lines:  # noqa: B007 - the reader may take several lines for a row
            yield text

    header = next(csv.reader(io.StringIO(first[1])))
    columns.require(header)
    reader = csv.reader(texts(), strict=True)
    while True:
        begin = last + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(begin, {}, f"is no CSV: {error}")
            continue
        if cells is None:
            return
        if cells and len(cells) != len(header):
            yield Row(begin, {}, f"has {len(cells)} cells, the header has {len(header)}")
        elif cells:
            yield Row(begin, columns.values(dict(zip(header, cells, strict=True))))


async def of_table(url: URL, name: str, columns: Columns) -> AsyncIterator[Row]:
    """Yield the rows of a table or a view, in the order of its first column, by which they are numbered.

    `name` may name the schema, too: `auth.users`. SQLite is opened to be read only.

    Raises:
        SQLAlchemyError: There is no such table, or no such database.
    """
    schema, _, table = name.rpartition(".")
    found = sa.table(table, schema=schema or None)
    every = sa.select(sa.text("*")).select_from(found).order_by(sa.text("1"))
    if url.get_backend_name() == "sqlite":
        file = sqlite_file(url)
        engine = sa.create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=NullPool, hide_parameters=True)
        with engine.connect() as connection:
            rows = connection.execution_options(yield_per=1000).execute(every)
            columns.require(list(rows.keys()))
            for number, row in enumerate(rows.mappings(), 1):
                yield Row(number, columns.values(dict(row)))
        return
    server = server_engine(driver_url(url), limited=False, poolclass=NullPool)
    async with server.connect() as there:
        streamed = await there.stream(every, execution_options={"yield_per": 1000})
        columns.require(list(streamed.keys()))
        number = 0
        async for row in streamed.mappings():
            number += 1
            yield Row(number, columns.values(dict(row)))


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, for its owner only; it gets its name when it is whole."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
