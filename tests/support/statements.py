"""Statements of commands that run in this process: what happens at one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa


@contextmanager
def watched(before: Callable[[str], None] | None = None, after: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside, `before(statement)` and `after(statement)` are called around each statement of any engine."""
    hooks = [
        (name, lambda _connection, _cursor, statement, *_, call=call: call(statement))
        for name, call in (("before_cursor_execute", before), ("after_cursor_execute", after))
        if call is not None
    ]
    for name, hook in hooks:
        sa.event.listen(sa.Engine, name, hook)
    try:
        yield
    finally:
        for name, hook in hooks:
            sa.event.remove(sa.Engine, name, hook)


def instructions(connection: sa.Connection, work: Callable[[], object]) -> int:
    """How many instructions SQLite executes for some work."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    raw: Any = connection.connection.dbapi_connection
    raw.set_progress_handler(step, 1)
    work()
    raw.set_progress_handler(None, 1)
    return steps


def failing_at(start: str, times: int = 1) -> Any:
    """Inside, a statement that starts so does not run: it is as if the operator pressed Ctrl-C there.

    `times`: it is the so-manieth of them.
    """
    seen: list[str] = []

    def interrupt(statement: str) -> None:
        if statement.strip().startswith(start):
            seen.append(statement)
            if len(seen) == times:
                raise KeyboardInterrupt

    return watched(before=interrupt)
