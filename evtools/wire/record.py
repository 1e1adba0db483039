"""One event together with what earlier events told about its task."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from evtools.wire.events import GAP, EventFields

NOTHING: Final[Mapping[str, Any]] = {}


class Record:
    """An event and the fields joined to it from its task's earlier events."""

    __slots__ = ("event", "joined")

    #: See TaskEvent.
    is_typed: ClassVar[Literal[False]] = False

    def __init__(self, event: EventFields, joined: Mapping[str, Any] = NOTHING) -> None:
        self.event = event
        self.joined = joined

    @property
    def record(self) -> Self:
        """The record itself, as with what stands for one."""
        return self

    @property
    def type(self) -> Any:
        """The event's type."""
        return self.event["type"]

    @property
    def is_gap(self) -> bool:
        """Whether it is our own record of a hole in the stream."""
        return bool(self.event["type"] == GAP)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field of the event, else the joined one, else `default`."""
        if name in self.event:
            return self.event[name]
        return self.joined.get(name, default)
