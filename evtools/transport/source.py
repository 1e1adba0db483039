"""Where events come from: a broker, a recording, a simulated cluster."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from evtools.wire import Defect, Event, EventFields


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a source has seen so far.

    The three losses are separate on purpose: `dropped` events did not fit
    into our buffer (exact), `gaps` are holes of together `gap_seconds`
    during which we had no connection, and `missed` tasks were counted by
    workers without an event reaching us (an estimate).
    """

    events: int = 0
    messages: int = 0
    dropped: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    missed: int = 0
    reconnects: int = 0
    buffered_bytes: int = 0
    connected: bool = False
    defects: tuple[Defect, ...] = field(default=())

    @property
    def malformed(self) -> int:
        """How many messages or parts of one were no events."""
        return sum(defect.count for defect in self.defects)


class Source(Protocol):
    """An endless or finite stream of events."""

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield events as they come, and [] when `timeout` seconds pass without.

        Gap records stand in the stream where events may be missing.  The
        iteration ends when the source is exhausted or stopped.
        """
        ...

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield what `batches` does as typed events."""
        ...

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        ...

    def stop(self) -> None:
        """End the stream after what has already arrived; safe in a signal handler."""
        ...

    def close(self) -> None:
        """Let go of everything; idempotent."""
        ...
