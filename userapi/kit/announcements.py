"""What happened is announced by the rule that made it so; who listens says whether in the unit or after its commit."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from sqlmodel import Session

log = logging.getLogger(__name__)

_KEY = "announcements"  # where in the information of a session they are found


@dataclass(frozen=True)
class Announcement:
    """Something that happened. A kind is a subclass, whose fields are plain values and no secrets.

    They are logged, but for those that are declared with `repr=False`.
    """

    name: ClassVar[str]  # of the event, in the log: `user_created` of UserCreated

    def __init_subclass__(cls) -> None:
        """Give a kind its name."""
        super().__init_subclass__()
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def told(self) -> dict[str, Any]:
        """The fields for the log that have a value."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        return {name: value for name, value in found.items() if value is not None}


A = TypeVar("A", bound=Announcement)


class Announcements:
    """Who listens to what happens, and how.

    A listener inside the unit writes rows of its own: they are committed with the change, or rolled back with it, and
    if the listener fails, so does the change. A listener after the commit logs or wakes a worker: the change stands by
    then, so its failure is logged and nothing else.
    """

    def __init__(self) -> None:
        """Begin without listeners."""
        self._inside: list[tuple[type[Announcement], Callable[[Session, Any], None]]] = []
        self._after: list[tuple[type[Announcement], Callable[[Any], None]]] = []

    def inside_unit(self, kind: type[A], listener: Callable[[Session, A], None]) -> None:
        """Call `listener(db, announcement)` in the unit, at once, for each announcement of a kind."""
        self._inside.append((kind, listener))

    def after_commit(self, kind: type[A], listener: Callable[[A], None]) -> None:
        """Call `listener(announcement)` once the unit is committed, and only then."""
        self._after.append((kind, listener))

    def attach(self, db: Session) -> list[Announcement]:
        """Return the list in which a unit's announcements gather."""
        gathered: list[Announcement] = []
        db.info[_KEY] = (self, gathered)
        return gathered

    def hear(self, db: Session, announcement: Announcement) -> None:
        """Pass an announcement to who listens inside its unit."""
        for kind, listener in self._inside:
            if isinstance(announcement, kind):
                listener(db, announcement)

    def tell(self, announcement: Announcement) -> None:
        """Pass on what is committed, or what happened outside of any unit, to who listens after commits."""
        for kind, listener in self._after:
            if isinstance(announcement, kind):
                try:
                    listener(announcement)
                except Exception:
                    log.exception("a listener failed after the commit")


def announce(db: Session, announcement: Announcement) -> None:
    """Announce in a unit what it has just done."""
    announcements, gathered = db.info[_KEY]
    gathered.append(announcement)
    announcements.hear(db, announcement)
