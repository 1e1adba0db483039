"""Where events come from: a broker, a recording, a simulated cluster."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from evtools.clock import Clock
from evtools.wire import Defect, Event, EventFields

DOCTOR: Final = "evtools doctor, given the same broker, finds out more"
#: Workers send heartbeats every two seconds: after this time something is wrong.
_SILENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of the connection, for the user.

    `kind` is `listening`, `lost`, `retry` or `restored`, and of a recording
    `rewound` or `ended`; `text` is one line that shows no password.
    """

    kind: str
    text: str


@dataclass(slots=True)
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
    defects: tuple[Defect, ...] = ()

    @property
    def malformed(self) -> int:
        """How many messages or parts of one were no events."""
        return sum(defect.count for defect in self.defects)


class Source(Protocol):
    """An endless or finite stream of events."""

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield events as they come, and [] when `timeout` seconds pass without.

        Gap records stand in the stream where events may be missing.  The
        iteration ends when the source is exhausted or stopped.
        """
        ...

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield what `events` does as dictionaries."""
        for events in self.events(timeout):
            yield [event.as_dict() for event in events]

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        ...

    def stop(self) -> None:
        """End the stream after what has already arrived; safe in a signal handler."""
        ...

    def close(self) -> None:
        """Let go of everything; idempotent."""
        ...


class SilenceHint:
    """Look once, ten seconds after the start, whether a source has received anything."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._due = clock.monotonic() + _SILENCE_SECONDS

    def words(self) -> str:
        """Return the hint, once, if nothing has come; at all other times ""."""
        if self._clock.monotonic() < self._due:
            return ""
        self._due = math.inf
        if self._source.statistics().messages:
            return ""
        return f"nothing has come for {_SILENCE_SECONDS:g}s; {DOCTOR}"
