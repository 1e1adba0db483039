"""One event together with what earlier events told about its task."""

from collections.abc import Mapping
from typing import Any, Final

from evtools.wire.events import EventFields

NOTHING: Final[Mapping[str, Any]] = {}


class Record:
    """An event and the fields joined to it from its task's earlier events."""

    __slots__ = ("event", "joined")

    def __init__(self, event: EventFields, joined: Mapping[str, Any] = NOTHING) -> None:
        self.event = event
        self.joined = joined

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field of the event, else the joined one, else `default`."""
        if name in self.event:
            return self.event[name]
        return self.joined.get(name, default)
