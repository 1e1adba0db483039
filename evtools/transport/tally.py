"""What was on a recording, good and bad."""

from collections.abc import Iterable
from typing import Any, Final, TypeGuard

from evtools.transport.source import Statistics
from evtools.wire import Defect, Event, Gap

_SAMPLE_BYTES: Final = 200
#: Beyond any span of time, and still exact as a float.
_TOO_LARGE: Final = 10**15


class Tally:
    """Count what a tape had so far."""

    def __init__(self) -> None:
        self.good = 0
        self._bad = 0
        self._events = 0
        self._gaps = 0
        self._gap_seconds = 0.0
        self._dropped = 0
        self._missed = 0
        self._defects: dict[str, Defect] = {}

    def defect(self, kind: str, line: bytes, detail: str, *, is_whole: bool = True) -> None:
        """Count a line that is no event, or what was lost of one that is.

        The first of each kind is a sample.
        """
        self._bad += is_whole
        defect = self._defects.setdefault(
            kind, Defect(kind, line[:_SAMPLE_BYTES], detail, 0, len(line))
        )
        defect.count += 1

    def count(self, events: Iterable[Event]) -> None:
        """Count what is handed out."""
        for event in events:
            if isinstance(event, Gap):
                self._count_gap(event)
            else:
                self._events += 1

    def _count_gap(self, gap: Gap) -> None:
        match gap.reason:
            case "buffer":
                self._dropped += gap.dropped
            case "worker":
                self._missed += gap.missed
            case _:
                self._gaps += 1
                self._gap_seconds += gap.duration

    def statistics(self, *, connected: bool) -> Statistics:
        """Return the counters."""
        return Statistics(
            events=self._events,
            messages=self.good + self._bad,
            dropped=self._dropped,
            gaps=self._gaps,
            gap_seconds=self._gap_seconds,
            missed=self._missed,
            connected=connected,
            defects=tuple(self._defects.values()),
        )


def _is_seconds(value: Any) -> TypeGuard[float]:
    return value.__class__ in (float, int) and abs(value) < _TOO_LARGE
