"""Records: read from a file of CSV or JSON Lines or from a table of a database, and written to a file of one's own."""

import csv
import io
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy import URL
from sqlalchemy.pool import NullPool

from userapi.errors import Refusal
from userapi.kit.database.engines import driver_url, server_engine
from userapi.kit.database.sqlite import sqlite_file
from userapi.moving.columns import Columns

MAX_LINE = 2**20  # bytes: a longer one is refused, not read into memory

_TOO_LONG = f"is longer than {MAX_LINE} bytes"


class Row(NamedTuple):
    """A record: its values by field, and where it is; `problem`, if it cannot be read."""

    line: int
    values: Mapping[str, Any]
    problem: str | None = None


class _Line(NamedTuple):
    """A line of a file, with its end; of one that is `cut` the text is only the beginning."""

    number: int
    text: str
    cut: bool


class _CutError(Exception):
    """A row has a line that is cut."""


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
        Refusal: It has no header, or unknown columns, or is a JSON array.
    """
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        raise Refusal("the file is empty: the first line must be a header (CSV) or a JSON object")
    begin = first.text.lstrip()
    if begin.startswith("["):
        raise Refusal("a JSON array cannot be read: JSON must be JSON Lines, an object a line")
    rows = _json_rows if begin.startswith("{") else _csv_rows
    for row in rows(first, lines, columns):
        yield row


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """Yield the lines, beginning with the first that is not blank."""
    number, begun = 0, False
    while line := file.readline(MAX_LINE):
        number += 1
        cut = rest = len(line) == MAX_LINE and not line.endswith(b"\n")
        while rest:
            skipped = file.readline(MAX_LINE)
            rest = bool(skipped) and not skipped.endswith(b"\n")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
        begun = begun or bool(text.strip())
        if begun:
            yield _Line(number, text, cut)


def _json_rows(first: _Line, lines: Iterator[_Line], columns: Columns) -> Iterator[Row]:
    for line in chain([first], lines):
        if line.cut:
            yield Row(line.number, {}, _TOO_LONG)
        elif line.text.strip():
            try:
                given = orjson.loads(line.text)
            except ValueError:  # its words repeat the input
                given = None
            if isinstance(given, dict):
                yield Row(line.number, columns.values(given), columns.unknown(list(given)))
            else:
                yield Row(line.number, {}, "is no JSON object")


def _csv_rows(first: _Line, lines: Iterator[_Line], columns: Columns) -> Iterator[Row]:
    last = first.number

    def text(line: _Line) -> str:
        nonlocal last
        last = line.number  # the reader may take several lines for a row
        if line.cut:
            raise _CutError
        return line.text

    header = _header(first)
    columns.require(header)
    reader = csv.reader(map(text, lines), strict=True)
    while True:
        begin = last + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(begin, {}, f"is no CSV: {error}")
            continue
        except _CutError:
            yield Row(begin, {}, _TOO_LONG)
            continue
        if cells is None:
            return
        if cells and len(cells) != len(header):
            yield Row(begin, {}, f"has {len(cells)} cells, the header has {len(header)}")
        elif cells:
            yield Row(begin, columns.values(dict(zip(header, cells, strict=True))))


def _header(line: _Line) -> list[str]:
    if "\r" in line.text.rstrip("\r\n"):
        raise Refusal("lines must end with LF or CR LF, not with CR alone")
    if line.cut:
        raise Refusal(f"the header {_TOO_LONG}")
    try:
        return next(csv.reader([line.text], strict=True))
    except csv.Error as error:
        raise Refusal(f"the header is no CSV: {error}") from None


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
def private_file(path: Path, *kept: Path) -> Iterator[BinaryIO]:
    """Open a file to write, for its owner only; it gets its name when it is whole. A pipe or a device is written to.

    Raises:
        Refusal: It is one of those to be kept.
    """
    if path.exists() and any(other.exists() and path.samefile(other) for other in kept):
        raise Refusal(f"{path} is in use and would be overwritten: name another file")
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # of a link, where it leads
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
