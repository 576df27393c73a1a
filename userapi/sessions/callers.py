"""Who calls, looked up together for requests that wait for the database at the same moment."""

import asyncio

from sqlalchemy import Connection

from userapi.kit.database import Database
from userapi.security.tokens import Claims
from userapi.sessions import rules
from userapi.sessions.rules import Caller


class Callers:
    """Finds the callers of requests: on a server, those of all requests that wait for a connection by one statement.

    The way to a server and back costs as much for one as for ten. A request joins a lookup only until that begins, so
    it sees all that was committed before it came.
    """

    def __init__(self, database: Database, max_age: int) -> None:
        """`max_age` is how old a login may be for what needs a recent one, in seconds; 0 for any age."""
        self._database, self._max_age = database, max_age
        self._waiting: _Lookup | None = None

    async def find(self, claims: Claims) -> Caller | None:
        """Return the active user who is logged in with a token's session; None if the session has ended.

        Raises:
            DatabaseUnavailable: The database does not answer in time.
        """
        if self._database.is_local:
            return await self._database.read(rules.find_caller, claims, self._max_age)
        lookup = self._waiting
        if lookup is None:
            lookup = self._waiting = _Lookup()
            lookup.running = asyncio.create_task(self._run(lookup))
        lookup.claims.add(claims)
        found = await asyncio.shield(lookup.running)
        return found.get(claims)

    async def _run(self, lookup: "_Lookup") -> dict[Claims, Caller]:
        try:
            return await self._database.read(self._find, lookup)
        finally:
            self._close(lookup)

    def _find(self, connection: Connection, lookup: "_Lookup") -> dict[Claims, Caller]:
        self._close(lookup)
        return rules.find_callers(connection, lookup.claims, self._max_age)

    def _close(self, lookup: "_Lookup") -> None:
        if self._waiting is lookup:
            self._waiting = None


class _Lookup:
    """A statement that is to be made: whom it asks for, and what it finds."""

    running: asyncio.Task[dict[Claims, Caller]]

    def __init__(self) -> None:
        self.claims: set[Claims] = set()
